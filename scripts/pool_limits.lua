-- Part of the pool's script: limits that rule in place of those that processes are configured with.
--
-- Field l: version, and the text that says what the limits are. The script doesn't read the text. The highest version
-- rules; of two texts of one version, the first.
--
-- A process that follows a version, or sets one, sends the report 'limits' before all others. If its version isn't that
-- of the state, or it has another text, the script does nothing: the process adopts what the error says, or repeats the
-- call with its text if its version is higher. So each process follows with its next call, and what Redis has lost is
-- restored by a process that knows it.
--
-- Expects pool_session.lua. Leaves nothing; the error LIMITS ends the script here.

local LIMITS_KEPT = 30 * 86400 -- seconds from the last call

local follows = argv[argi + 1] ~= '0' and argv[argi + 2] == 'limits'
if follows or hash.field.l then
  local version, text, stored, ruling = 0, '', 0, ''
  if follows then
    version, text = argv[argi + 3] + 0, argv[argi + 4]
  end
  if hash.field.l then
    local number, rest = string.match(hash.field.l, '^(%d+) (.*)$')
    if number then
      stored, ruling = number + 0, rest
    else
      hash.broken('l')
    end
  end
  if stored > version or stored == version and text ~= '' and text ~= ruling or stored < version and text == '' then
    return { err = string.format('LIMITS %.0f %s', stored, ruling) }
  end
  if stored < version then
    hash.put('l', string.format('%.0f %s', version, text), state.now)
  end
  hash.needed = math.max(hash.needed, state.now + LIMITS_KEPT)
end
