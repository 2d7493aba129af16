-- Part of the pool's script: blocks, which keep a key or a whole lane out of use. One that cools down is free again at
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
  -- What is off stays so after its time, until it was tried.
  put(name, string.format('%.17g %s %s', till, kind, reason), kind == 'off' and till + 86400 or till)
end

-- block takes in a report. The later deadline wins, and what is off isn't turned into what cools down.
local function block(kind, name, till, reason)
  local old, was_off, _, trial = read_block(name)
  was_off = was_off or trial
  if till > now and (till > old or (kind == 'off' and not was_off)) then
    write_block(name, math.max(till, old), was_off and 'off' or kind, reason)
  end
end

-- clear takes back that something is off. What cools down does so by itself.
local function clear(name)
  if string.find(field[name] or '', ' off ', 1, true) then
    drop(name)
  end
end

-- A lane is open if neither it nor all its keys are blocked. lane.keys are those that can be used, lane.trials those
-- of them that only one call may use.
local function open_lane(lane)
  local till, off, reason, trial = 0, false, '', false
  for _, name in ipairs(lane.blocks) do
    local its_till, its_off, its_reason, its_trial = read_block(name)
    till, trial = math.max(till, its_till), trial or its_trial
    if its_off then
      off, reason = true, its_reason
    end
  end
  lane.trial, lane.keys, lane.trials = trial, {}, {}
  lane.back, lane.off = math.huge, true
  for k, name in ipairs(lane.key_names) do
    local key_till, key_off, key_reason, key_trial = read_block('k:' .. name)
    if off or key_off then
      lane.reason = key_off and key_reason or reason
    else
      lane.off = false
    end
    if math.max(till, key_till) <= now then
      local list = (trial or key_trial) and lane.trials or lane.keys
      list[#list + 1] = k
    end
    lane.back = math.min(lane.back, math.max(till, key_till))
  end
  lane.open = #lane.keys + #lane.trials > 0
end

-- try takes a key that is on trial, and leaves everything that is on trial with it off for everybody else.
local function try(lane)
  local k = table.remove(lane.trials)
  local names = { 'k:' .. lane.key_names[k] }
  if lane.trial then
    lane.trials = {}
    for _, name in ipairs(lane.blocks) do
      names[#names + 1] = name
    end
  end
  for _, name in ipairs(names) do
    local _, _, reason, trial = read_block(name)
    if trial then
      write_block(name, now + PROBATION, 'off', reason)
    end
  end
  lane.open = #lane.keys + #lane.trials > 0
  return -k
end
