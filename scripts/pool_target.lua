-- Part of the pool's script: targets. The targets of a model group are read when the first demand for it comes.
--
-- Expects pool.lua (accounts, key_name, by_key, weights, blocks, field, now, NONE), pool_counter.lua, pool_block.lua.
-- Leaves targets_of, turn_of, weight, on_trial, next_key.

-- target_blocked returns the end of the blocks of a target as a whole, whether one disables, its reason, and whether one is on trial.
local function target_blocked(target)
  local till, disabled, reason, trial = 0, false, '', false
  for _, name in ipairs(target.blocks) do
    local its_till, its_disabled, its_reason, its_trial = read_block(name)
    till, trial = math.max(till, its_till), trial or its_trial
    if its_disabled then
      disabled, reason = true, its_reason
    end
  end
  return till, disabled, reason, trial
end

-- key_of returns the name of a target's k-th key.
local function key_of(target, k)
  return target.key or key_name(target.account, k)
end

-- read_blocks sets which keys of a target calls may use: target.keys, and target.trials for one call each. Without these
-- lists all keys may be used. A target is closed if there is no such key. target.back is the time of the next one, and
-- target.disabled says that all keys are disabled.
local function read_blocks(target, model_group)
  target.blocks = { 'a:' .. target.account.name }
  if model_group.name ~= '' then
    target.blocks[2] = 'm:' .. target.account.name .. ':' .. model_group.name
  end
  local till, disabled, reason, trial = target_blocked(target)
  target.trial, target.keys, target.trials = trial, {}, {}
  target.back, target.disabled = math.huge, true
  for k = 1, target.key and 1 or target.account.keys do
    local key_till, key_disabled, key_reason, key_trial = read_block('k:' .. key_of(target, k))
    if disabled or key_disabled then
      target.reason = key_disabled and key_reason or reason
    else
      target.disabled = false
    end
    if math.max(till, key_till) <= now then
      local list = (trial or key_trial) and target.trials or target.keys
      list[#list + 1] = k
    end
    target.back = math.min(target.back, math.max(till, key_till))
  end
  target.closed = #target.keys + #target.trials == 0
end

-- read_target returns a target of an account, or of one of its keys.
local function read_target(index, model_group, account, key)
  local its_counters, its_limits = {}, model_group.limits
  for i = 1, #its_limits do
    local scope = its_limits[i].scope
    its_counters[i] = counter(its_limits[i], scope == 'account' and account.name or scope == 'key' and key or '')
  end
  local target = {
    index = index, account = account, key = key, counters = its_counters,
    bookable_at = 0, send_at = 0, binding = NONE, rank = 0, -- see evaluate
  }
  if blocks then
    read_blocks(target, model_group)
  elseif account.keys == 0 then
    target.closed, target.disabled, target.back = true, true, math.huge
  end
  return target
end

-- targets_of returns the targets of a model_group.
local function targets_of(model_group)
  if model_group.targets then
    return model_group.targets
  end
  local targets = {}
  model_group.targets = targets
  for i = 1, #accounts do
    local account = accounts[i]
    if not by_key then
      targets[i] = read_target(i - 1, model_group, account)
    else
      for k = 1, account.keys do
        targets[#targets + 1] = read_target(#targets, model_group, account, key_name(account, k))
      end
    end
  end
  return targets
end

-- turn_of returns the next key of a target and its round of round robin, which it reads at the first use.
local function turn_of(target, model_group)
  local its = target.turn
  if not its then
    local name = 'r:' .. target.account.name .. ':' .. model_group.name .. ':' .. (target.key or '')
    local cursor, pass = string.match(field[name] or '0 0', '^(%S+) (%S+)$')
    its = { field = name, cursor = cursor + 0, pass = pass + 0, used = false }
    target.turn = its
  end
  return its
end

local function weight(target)
  return weights[target.index + 1] or 1
end

-- try takes a key that is on trial, and disables what is on trial with it for all other calls.
local function try(target)
  local k = table.remove(target.trials)
  local names = { 'k:' .. key_of(target, k) }
  if target.trial then
    target.trials = {}
    for _, name in ipairs(target.blocks) do
      names[#names + 1] = name
    end
  end
  for _, name in ipairs(names) do
    local _, _, reason, trial = read_block(name)
    if trial then
      write_block(name, now + PROBATION, 'off', reason)
    end
  end
  target.closed = #target.keys + #target.trials == 0
  return -k
end

-- on_trial returns how many keys of a target are on trial.
local function on_trial(target)
  return target.trials and #target.trials or 0
end

-- next_key returns the next key: keys on trial come first, for one call each.
local function next_key(target)
  if on_trial(target) > 0 then
    return try(target)
  end
  local cursor, keys = target.turn.cursor, target.keys
  target.turn.cursor = cursor + 1
  if keys then
    return keys[cursor % #keys + 1] - 1
  end
  return target.key and 0 or cursor % target.account.keys
end
