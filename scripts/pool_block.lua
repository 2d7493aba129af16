-- Part of the pool's script: blocks, which keep a key or a whole target out of use. A cooldown ends at its time. What is
-- disabled ('off') is on trial from its time on: one call may use it, and the process of that call reports the result.
-- Until that report, at most PROBATION seconds, it is disabled for all other calls.
--
-- Expects pool.lua: now, field, put, drop, blocks.
-- Leaves read_block, write_block, PROBATION.

local PROBATION = 60 -- seconds

-- read_block returns the end of a block (0: it is over), whether it disables, its reason, and whether it is on trial.
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
  -- A disabling block stays after its time, until a call has tried it.
  put(name, string.format('%.17g %s %s', till, kind, reason), kind == 'off' and till + 86400 or till)
end
