-- Part of the pool's script: admission. A demand looks at a few candidates first. If none can serve a call now, it looks
-- at all targets of its group.
--
-- Expects pool_tenant.lua. Leaves in admission the reply's demands and runs; left, calls that were not admitted;
-- binding, delayed, wake, reason, poll; turns, the targets whose round robin moved.

-- take_turn moves the turn of this session ahead by what n calls on a target take of the pool.
function admission.take_turn(target, d, n)
  local takes = 0
  for i = 1, d.n do
    takes = math.max(takes, target.counters[i].limit.interval * d.units[i] * n)
  end
  admission.turn = math.max(admission.turn, math.min(admission.turn + takes * admission.shares / d.group.size,
    state.now + 2 * d.bound))
end

-- next_key returns the key that is next: one on trial first, for one call.
function admission.next_key(target, d, n)
  target.used = target.used + n / target.weight
  if target.turn then
    local its = admission.turn_of(target, d.group)
    if call.strategy == 'round_robin' then
      admission.round = math.max(admission.round, its.round)
      its.round = admission.round + n / target.weight
    end
    if not its.used then
      its.used = true
      turns[#turns + 1] = its
    end
    if blocking.on_trial(target) > 0 then
      return blocking.test_key(target)
    end
    local cursor, keys = its.cursor, target.usable
    its.cursor = cursor + 1
    if keys then
      return keys[cursor % #keys + 1] - 1
    end
    return cursor % #targets.key_names(target)
  elseif blocking.on_trial(target) > 0 then
    return blocking.test_key(target)
  end
  return 0
end

-- charge books n calls of a demand at one send time.
function admission.charge(target, d, n)
  local send_at, units = target.send_at, d.units
  admission.delayed = target.binding
  if send_at <= state.now then
    send_at, admission.delayed = state.now, call.NONE
  end
  for i = 1, d.n do
    if units[i] > 0 then
      counting.counter_charge(target.counters[i], send_at, units[i] * n)
    end
  end
  if tenancy then
    tenancy.take(target, d, n)
  elseif admission.shares > 1 then
    admission.take_turn(target, d, n)
  end
  if call.permits_limited then
    local account = target.account
    if account.idle > state.now then
      permit.mark_idle(account, 0)
    end
    account.held, account.taken = account.held + n, account.taken + n
    targets.held_here, permit.free = targets.held_here + n, permit.free - n
  end
  admission.reply[admission.size + 1], admission.reply[admission.size + 2] = target.index, admission.next_key(target,
    d, n)
  admission.reply[admission.size + 3], admission.reply[admission.size + 4] = n,
    math.ceil((send_at - state.now) * 1000000)
  admission.size = admission.size + 4
end

-- make_waiting makes the functions for demands that no candidate can serve at once, which most calls don't need.
function admission.make_waiting()
  function admission.ask_again(at)
    admission.wake = math.min(admission.wake, math.max(0, at - state.now))
  end

  -- why_closed returns what delays a demand none of whose targets is open.
  function admission.why_closed(d)
    local back, disabled, why = math.huge, true, ''
    for _, target in ipairs(d.targets) do
      back, disabled = math.min(back, target.back), disabled and target.disabled
    end
    admission.ask_again(back)
    if not disabled then
      return call.COOLDOWN
    end
    blocking.targets_usable(d.group.targets, d.group)
    for _, target in ipairs(d.group.targets) do
      if not target.disabled then -- it is excluded
        return call.EXCLUDED
      end
      why = target.reason or why
    end
    admission.reason = admission.reason ~= '' and admission.reason or why
    return call.DISABLED
  end

  -- why_none returns what delays a demand for which there is no target to choose.
  function admission.why_none(d, no_permit)
    if no_permit then
      admission.poll = true
      if state.hold > state.now then
        admission.ask_again(state.hold)
      end
      return call.PERMITS
    end
    for _, target in ipairs(d.targets) do
      if not target.closed then
        return call.NONE -- earlier calls have reserved it
      end
    end
    return admission.why_closed(d)
  end

  -- reserve keeps a target for a demand that must wait, and returns the limit that delays it. Later demands skip a
  -- reserved target. A daily count is not reserved: what is left of it may still fit a smaller call.
  function admission.reserve(target, d, ahead, my_turn)
    local limit
    for i = 1, #target.limits do
      if target.limits[i].index == target.binding then
        limit = target.limits[i]
      end
    end
    target.reserved = limit.ends == 0
    local at = target.bookable_at - ahead
    if tenancy then
      tenancy.waits(target)
      at = my_turn and at or math.min(at, tenancy.ask_at(target))
    elseif not my_turn then
      at = math.min(at, math.max(admission.turn - d.bound, target.bookable_at - d.reach))
    end
    admission.ask_again(at)
    return target.binding
  end

  -- note_idle notes which accounts can't be used, for the fair shares of permits.
  function admission.note_idle(d)
    for _, target in ipairs(d.targets) do
      if not target.key then
        if target.closed then
          permit.mark_idle(target.account, target.back)
        elseif target.send_at - state.now > 2 * call.horizon then
          permit.mark_idle(target.account, target.send_at)
        else
          permit.mark_idle(target.account, 0)
        end
      end
    end
  end

  -- all_targets returns the targets of a demand's group without those that it excludes, beginning at its first candidate.
  function admission.all_targets(d)
    local group = d.group
    if not group.whole then
      group.whole = true
      for text in string.gmatch(group.text, '([^\n]+)\n') do
        targets.add_target(group, text)
      end
      hash.fetch()
    end
    local list, first = {}, call.strategy ~= 'first_available' and d.targets[1] and d.targets[1].index or 0
    for i = 0, group.size - 1 do
      local target = group.targets[(first + i) % group.size + 1]
      if not d.excluded[target.index + 1] then
        list[#list + 1] = target
      end
    end
    return list
  end
end

-- grow lets the bursts of a demand's targets grow to what its calls cost.
function admission.grow(d)
  if not (d.group.grows or d.group.differ) then
    return
  end
  for i = 1, d.n do
    for k = 1, #d.targets do
      local target = d.targets[k]
      if not target.closed and counting.may_grow(target.limits[i], d.units[i]) then
        counting.counter_grow(target.counters[i], d.units[i])
      end
    end
  end
end

-- admit_on books up to n calls of a demand on its targets, at once: only calls that may be sent now. It returns how
-- many it could not, and if not at once, why.
function admission.admit_on(d, n, at_once)
  blocking.targets_usable(d.targets, d.group)
  admission.open_targets(d.targets)
  admission.grow(d)
  local open = admission.evaluate_all(d)
  if not at_once and call.permits_limited then
    admission.note_idle(d)
  end
  local portion = math.ceil(n / math.max(1, open))
  while n > 0 do
    local my_turn, ahead
    if tenancy then
      my_turn, ahead = tenancy.reach(d)
    else
      my_turn = admission.shares == 1 or admission.turn <= state.now + d.bound
      ahead = my_turn and d.reach or math.min(d.reach, call.horizon / 8)
    end
    local target, no_permit = admission.choose_target(d, ahead, at_once)
    if not target then
      return n, at_once and call.NONE or admission.why_none(d, no_permit)
    elseif target.bookable_at > state.now + ahead then
      admission.poll = admission.poll or no_permit -- another target may get one back before
      return n, admission.reserve(target, d, ahead, my_turn)
    end
    local calls = 1
    if portion > 1 and blocking.on_trial(target) == 0 then
      calls = admission.ready_calls(target, d, math.min(n, tenancy and tenancy.most(d, portion) or portion))
    end
    admission.charge(target, d, calls)
    n = n - calls
    if n > 0 and d.group.shared then
      admission.evaluate_all(d)
    elseif n > 0 then
      admission.evaluate(target, d)
    end
  end
  return 0, call.NONE
end

-- admit books up to n calls of a demand, and returns how many it could not, and why.
local function admit(d, n)
  d.bound = math.max(call.horizon, 4 * d.reach)
  if #d.targets + d.excludes < d.group.size then
    n = admission.admit_on(d, n, true)
    if n == 0 then
      return 0, call.NONE
    end
  end
  if not admission.all_targets then
    admission.make_waiting()
  end
  d.targets = admission.all_targets(d)
  return admission.admit_on(d, n, false)
end

local demands = tenancy and tenancy.count or num()
admission.reply = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
admission.size = 13 + 2 * demands
for i = 14, admission.size, 2 do
  admission.reply[i], admission.reply[i + 1] = 0, call.NONE
end
for g = 1, demands do
  local n, group, reach, preferred, excludes = num(), groups[num()], num() / 1000000, num() - 1, num()
  local excluded, first_looked_at = {}, { false, false }
  for _ = 1, excludes do
    excluded[num()] = true
  end
  first_looked_at[1], first_looked_at[2] = nil, nil
  for i = 1, num() do
    first_looked_at[i] = group.candidates[num()]
  end
  -- Made with room for the usual number of limits, so that they needn't grow.
  local units, bookable_after, send_after, shared = { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, { 0, 0, 0, 0 }
  local its = group.limits
  for i = 1, #its do
    local limit = its[i]
    local cost = argv[argi + limit.metric] + 0
    units[i] = cost
    if limit.ends == 0 then
      bookable_after[i] = (1 - limit.burst) * limit.interval
      send_after[i] = (cost - limit.burst) * limit.interval
      shared[i] = limit
    end
  end
  argi = argi + metrics
  if tenancy then
    tenancy.begin(g, group)
  end
  local demand = {
    group = group, targets = first_looked_at, excluded = excluded, excludes = excludes, reach = reach, preferred =
      preferred, bound = 0,
    units = units, n = #its, bookable_after = bookable_after, send_after = send_after, limits = shared,
  }
  local over, why = admit(demand, n)
  if tenancy then
    tenancy.finish(demand, over)
  end
  admission.left = admission.left + over
  if admission.binding == call.NONE then
    admission.binding = why
  end
  admission.reply[12 + 2 * g], admission.reply[13 + 2 * g] = n - over, why
end

-- What was released and isn't used here goes to those that wait, whatever their share.
if permit.contended and state.own and state.own.sum > sum_reported then
  permit.serve_queue(true)
end
