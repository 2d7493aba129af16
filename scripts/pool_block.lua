-- Part of the pool's script: blocks, which keep a key or a whole target out of use. One that cools down is free again at
-- its time. One that is off is then on trial: a single call may use it, and whoever made that call says what came of
-- it; until then, or for PROBATION seconds, it is off.

local PROBATION = 60

-- read_block returns until when a block holds (0: not now), whether it is off, why, and whether it is on trial.
local function read_block(name)
  local value = field[name]
  if not value then
    return 0, false, '', false
  end
  local till, kind, reason = string.match(value, '^(%S+) (%S+) (.*)$')
  till = tonumber(till)
  if till > now then
    return till, kind == 'off', reason, false
  end
  if kind == 'off' then
    return 0, false, reason, true
  end
  drop(name)
  return 0, false, '', false
end

local function write_block(name, till, kind, reason)
  blocks = true
  -- What is off stays so after its time, until it was tried.
  put(name, string.format('%.17g %s %s', till, kind, reason), kind == 'off' and till + 86400 or till)
end
