-- Part of the pool's script: lanes. Those of a family are read when the first call for it comes.

-- lane_blocked returns until when a lane as a whole is blocked, whether it is off, why, and whether it is on trial.
local function lane_blocked(lane)
  local till, off, reason, trial = 0, false, '', false
  for _, name in ipairs(lane.blocks) do
    local its_till, its_off, its_reason, its_trial = read_block(name)
    till, trial = math.max(till, its_till), trial or its_trial
    if its_off then
      off, reason = true, its_reason
    end
  end
  return till, off, reason, trial
end

-- key_of returns the name of a lane's k-th key.
local function key_of(lane, k)
  return lane.key or key_name(lane.account, k)
end

-- read_blocks finds out which keys of a lane can be used: lane.keys, and lane.trials for a single call; if it leaves them
-- out, they all can. A lane is closed if none can. lane.back is when one is next, and lane.off tells that all are
-- disabled.
local function read_blocks(lane, family)
  lane.blocks = { 'a:' .. lane.account.name }
  if family.name ~= '' then
    lane.blocks[2] = 'm:' .. lane.account.name .. ':' .. family.name
  end
  local till, off, reason, trial = lane_blocked(lane)
  lane.trial, lane.keys, lane.trials = trial, {}, {}
  lane.back, lane.off = math.huge, true
  for k = 1, lane.key and 1 or lane.account.keys do
    local key_till, key_off, key_reason, key_trial = read_block('k:' .. key_of(lane, k))
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
  lane.closed = #lane.keys + #lane.trials == 0
end

-- read_lane returns a lane of an account, or of one of its keys.
local function read_lane(index, family, account, key)
  local its_counters, its_limits = {}, family.limits
  for i = 1, #its_limits do
    local scope = its_limits[i].scope
    its_counters[i] = counter(its_limits[i], scope == 'account' and account.name or scope == 'key' and key or '')
  end
  local lane = {
    index = index, account = account, key = key, counters = its_counters,
    opens = 0, slot = 0, binding = NONE, rank = 0, -- see price
  }
  if blocks then
    read_blocks(lane, family)
  elseif account.keys == 0 then
    lane.closed, lane.off, lane.back = true, true, math.huge
  end
  return lane
end

-- lanes_of returns the lanes of a family.
local function lanes_of(family)
  if family.lanes then
    return family.lanes
  end
  local lanes = {}
  family.lanes = lanes
  for i = 1, #accounts do
    local account = accounts[i]
    if not by_key then
      lanes[i] = read_lane(i - 1, family, account)
    else
      for k = 1, account.keys do
        lanes[#lanes + 1] = read_lane(#lanes, family, account, key_name(account, k))
      end
    end
  end
  return lanes
end

-- turn_of returns which key of a lane is next, and how far round robin has come with it. That is read when it is needed.
local function turn_of(lane, family)
  local its = lane.turn
  if not its then
    local name = 'r:' .. lane.account.name .. ':' .. family.name .. ':' .. (lane.key or '')
    local cursor, pass = string.match(field[name] or '0 0', '^(%S+) (%S+)$')
    its = { field = name, cursor = cursor + 0, pass = pass + 0, used = false }
    lane.turn = its
  end
  return its
end

local function weight(lane)
  return weights[lane.index + 1] or 1
end

-- try takes a key that is on trial, and leaves everything that is on trial with it off for everybody else.
local function try(lane)
  local k = table.remove(lane.trials)
  local names = { 'k:' .. key_of(lane, k) }
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
  lane.closed = #lane.keys + #lane.trials == 0
  return -k
end

-- on_trial returns how many keys of a lane are on trial.
local function on_trial(lane)
  return lane.trials and #lane.trials or 0
end

-- next_key returns the key that is next: one on trial first, for one call.
local function next_key(lane)
  if on_trial(lane) > 0 then
    return try(lane)
  end
  local cursor, keys = lane.turn.cursor, lane.keys
  lane.turn.cursor = cursor + 1
  if keys then
    return keys[cursor % #keys + 1] - 1
  end
  return lane.key and 0 or cursor % lane.account.keys
end
