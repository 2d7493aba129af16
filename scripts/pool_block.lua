-- Part of the pool's script: blocks, which keep a key or a target out of use. A cooldown ends by itself. What is
-- disabled is on trial after its time: a single call tests it, and the process reports the result. Until then, or for
-- PROBATION seconds, it stays disabled.
--
-- Fields: until when, 'cool', 'off' or during a test 'test', reason. The length of a block that grows stands behind the
-- second word, as in 'cool:0.5'. Absent fields are read only while blocks_until lies ahead.
--
-- Expects pool_counter.lua. Leaves read_block, write_block, grow_block; targets_usable, which works out what of targets
-- can be used; test_key.

local blocking = {
  PROBATION = 0, REPEATED = 0, targets_usable = 0, on_trial = 0,
}

-- While nothing is blocked, none of these is called.
lazily(blocking, function()
  -- read_targets reads the blocks of targets.
  function blocking.read_targets(list, group)
    for i = 1, #list do
      if not list[i].usable then
        for _, name in ipairs(blocking.block_names(list[i], group)) do
          hash.want(name)
        end
        for _, name in ipairs(targets.key_names(list[i])) do
          local own, whichever = blocking.key_blocks(name)
          hash.want(own)
          if whichever then
            hash.want(whichever)
          end
        end
      end
    end
    hash.fetch()
    for i = 1, #list do
      if not list[i].usable then
        blocking.find_usable(list[i])
      end
    end
  end

  -- parse returns the parts of a block: until when it holds, kind, length (0: it doesn't grow), reason; nothing if it
  -- can't be read.
  function blocking.parse(value)
    local till, kind, length, reason = string.match(value, '^(%S+) (%a+):?(%S*) (.*)$')
    till, length = hash.numbers(till), length == '' and 0 or hash.numbers(length)
    if till and length and (kind == 'off' or kind == 'cool' or kind == 'test') then
      return till, kind, length, reason
    end
  end

  -- read_block returns until when a block holds (0: not now), whether it is disabled, why, whether it is on trial, its
  -- kind, its length, and when it ends or ended.
  function blocking.read_block(name)
    local value = hash.get(name)
    if not value then
      return 0, false, '', false, '', 0, 0
    end
    local till, kind, length, reason = blocking.parse(value)
    if not till then
      hash.broken(name)
      return 0, false, '', false, '', 0, 0
    elseif till > state.now then
      return till, kind ~= 'cool', reason, false, kind, length, till
    elseif kind ~= 'cool' then
      return 0, false, reason, true, kind, length, till
    end
    return 0, false, '', false, kind, length, till
  end

  function blocking.write_block(name, till, kind, reason, length)
    -- What is disabled stays so after its time, until it was tested. One that grows is remembered.
    local over = till
    if kind ~= 'cool' then
      over = till + counting.DAY
    end
    state.blocks_until = math.max(state.blocks_until, over)
    if length and length > 0 then
      over = math.max(over, till + math.max(length, blocking.REPEATED))
      kind = string.format('%s:%.6g', kind, length)
    end
    hash.put(name, string.format('%.17g %s %s', till, kind, reason), over)
  end

  -- tested returns the name of the block whichever secret a key has, if that is what a call tests; else nothing.
  function blocking.tested(name)
    local id = string.match(name, '^(k:.+)%%7E%x+$')
    if id then
      local _, _, _, _, kind = blocking.read_block(id)
      return kind == 'test' and id
    end
  end

  -- grow_block begins a block of some seconds, or if it repeats the last one, of factor times that one's length. What
  -- holds already stays as it is, unless that was tested.
  function blocking.grow_block(name, kind, seconds, factor, most, reason)
    name = kind == 'off' and blocking.tested(name) or name
    local till, disabled, _, trial, old, length, ended = blocking.read_block(name)
    if till > 0 and old ~= 'test' and (disabled or kind == 'cool') then
      return
    end
    local repeated = old == 'test' or trial or state.now - ended <= math.max(length, blocking.REPEATED)
    if length > 0 and repeated and (kind == 'off') == (old ~= 'cool') then
      seconds = math.max(seconds, math.min(most, length * factor))
    end
    blocking.write_block(name, math.max(state.now + seconds, old ~= 'test' and till or 0), kind, reason, seconds)
  end

  -- block_names returns the names of the blocks of a target as a whole.
  function blocking.block_names(target, group)
    local its = target.blocks
    if not its then
      its = { 'a:' .. target.account.name }
      local wider = string.match(group.name, '^(.+)%%00') -- of a model that was separated from its group
      if wider then
        its[2] = 'm:' .. target.account.name .. ':' .. wider
      end
      if group.name ~= '' then
        its[#its + 1] = 'm:' .. target.account.name .. ':' .. group.name
      end
      target.blocks = its
    end
    return its
  end

  -- read_whole returns until when a target as a whole is blocked, whether it is disabled, why, and whether it is on
  -- trial.
  function blocking.read_whole(target)
    local till, disabled, reason, trial = 0, false, '', false
    for _, name in ipairs(target.blocks) do
      local its_till, its_disabled, its_reason, its_trial = blocking.read_block(name)
      till, trial = math.max(till, its_till), trial or its_trial
      if its_disabled then
        disabled, reason = true, its_reason
      end
    end
    return till, disabled, reason, trial
  end

  -- key_blocks returns the names of the blocks of a key: that of its secret, and that of the key whichever secret it has.
  function blocking.key_blocks(name)
    local id = string.match(name, '^(.+)%%7E%x+$')
    if id then
      return 'k:' .. name, 'k:' .. id
    end
    return 'k:' .. name
  end

  -- read_key returns what read_block does of the blocks of a key together.
  function blocking.read_key(name)
    local own, whichever = blocking.key_blocks(name)
    local till, disabled, reason, trial = blocking.read_block(own)
    if whichever then
      local its_till, its_disabled, its_reason, its_trial = blocking.read_block(whichever)
      till, trial = math.max(till, its_till), trial or its_trial
      if its_disabled then
        disabled, reason = true, its_reason
      end
    end
    return till, disabled, reason, trial
  end

  -- find_usable works out which keys of a target can be used: target.usable, and target.trials for a single call each. A
  -- target is closed if there are none. target.back is when there is one; target.disabled: all keys are disabled.
  function blocking.find_usable(target)
    local till, disabled, reason, trial = blocking.read_whole(target)
    target.trial, target.usable, target.trials = trial, {}, {}
    target.back, target.disabled = math.huge, true
    for k, name in ipairs(targets.key_names(target)) do
      local key_till, key_disabled, key_reason, key_trial = blocking.read_key(name)
      if disabled or key_disabled then
        target.reason = key_disabled and key_reason or reason
      else
        target.disabled = false
      end
      if math.max(till, key_till) <= state.now then
        local list = (trial or key_trial) and target.trials or target.usable
        list[#list + 1] = k
      end
      target.back = math.min(target.back, math.max(till, key_till))
    end
    target.closed = #target.usable + #target.trials == 0
  end

  -- test_key takes a key that is on trial. All that is on trial with it is disabled for the other calls.
  function blocking.test_key(target)
    local k = table.remove(target.trials)
    local names_on_trial = { blocking.key_blocks(targets.key_names(target)[k]) }
    if target.trial then
      for _, name in ipairs(target.blocks) do
        names_on_trial[#names_on_trial + 1] = name
      end
    end
    for _, name in ipairs(names_on_trial) do
      local _, _, reason, trial, _, length = blocking.read_block(name)
      if trial then
        blocking.write_block(name, state.now + blocking.PROBATION, 'test', reason, length)
      end
    end
    for i = 1, #groups do
      for _, other in pairs(groups[i].targets) do
        if other.usable then -- it may be on trial with the same block
          blocking.find_usable(other)
        end
      end
    end
    return -k
  end
end)

blocking.PROBATION = 60
blocking.REPEATED = 5 -- least time after a block's end for which the next one counts as its repetition

-- targets_usable works out what of targets can be used. Without blocks that is all of them.
function blocking.targets_usable(list, group)
  if state.blocks_until > state.now then
    blocking.read_targets(list, group)
  end
end

-- on_trial returns how many keys of a target are on trial.
function blocking.on_trial(target)
  return target.trials and #target.trials or 0
end

