-- Part of the pool's script: admission.
--
-- Expects all parts before it. Reads the demands from ARGV.
-- Leaves reply with the grants; left, the calls not admitted; binding and delayed, what delays them; wake, reason and poll of
-- the reply; turns, the targets' turns to write; turn, the session's.
--
-- A demand d is a run of equal calls. d.targets are the targets that the calls may take, d.units what each call takes of each
-- limit of its model group, d.reach how many seconds ahead the calls may be booked. d.bookable_after and d.send_after give
-- for each of these limits the time from a counter's theoretical arrival time until a call may be booked (as if it cost one
-- unit), and until its send time. They don't apply to counts, nor to counters with a limit of their own.

-- evaluate sets when a target could serve a call: bookable_at, from when the call may be booked, and its send_at. bookable_at
-- is the same for every cost, so that small calls don't starve large ones. Both may be in the past: the earlier, the less
-- loaded is the target. A call that a count has no room for isn't booked before the count starts anew. The rank orders
-- targets, and a lower one is better: first those that can serve now, by the strategy, then the others by send_at.
local function evaluate(target, d)
  local bookable_at, send_at, binding = 0, 0, NONE
  local units, its_counters = d.units, target.counters
  for i = 1, #units do
    local cost = units[i]
    if cost > 0 then
      local c = its_counters[i]
      local its_bookable_at, its_send_at
      if c.limit == d.limits[i] then
        its_bookable_at, its_send_at = c.tat + d.bookable_after[i], c.tat + d.send_after[i]
      else
        its_bookable_at, its_send_at = counter_times(c, cost)
      end
      if its_bookable_at > bookable_at then
        bookable_at = its_bookable_at
      end
      if its_send_at > send_at then
        send_at, binding = its_send_at, c.limit.index
      end
    end
  end
  target.bookable_at, target.send_at, target.binding = bookable_at, send_at, binding
  if send_at > now then
    target.rank = send_at
  elseif strategy == 'first_available' then
    target.rank = target.index - 1e9
  elseif strategy == 'round_robin' then
    target.rank = turn_of(target, d.model_group).pass - 1e12
  else
    target.rank = -math.min(now - send_at, 3600) * weight(target)
  end
end

-- evaluate_all evaluates the open targets of a demand and returns their number.
local function evaluate_all(d)
  local n = 0
  for i = 1, #d.targets do
    local target = d.targets[i]
    if not target.closed then
      evaluate(target, d)
      n = n + 1
    end
  end
  return n
end

-- choose_target returns the target to take, if there is one, and whether a target lacked only a permit.
local function choose_target(d, ahead)
  local chosen, its_rank, no_permit
  local none, targets, preferred = room() < 1, d.targets, d.preferred
  for i = 1, #targets do
    local target = targets[i]
    if not target.closed and not target.reserved then
      if none or target.account.taken >= target.account.permits then
        no_permit = true
      elseif target.index == preferred and target.send_at <= now + ahead then
        return target, no_permit
      else
        local rank = target.rank
        if not chosen or rank < its_rank
          or (rank == its_rank and turn_of(target, d.model_group).pass < turn_of(chosen, d.model_group).pass) then
          chosen, its_rank = target, rank
        end
      end
    end
  end
  return chosen, no_permit
end

-- ready_calls returns how many of n calls of a demand a target can serve now, at least one.
local function ready_calls(target, d, n)
  n = math.min(n, room(), target.account.permits - target.account.taken)
  local units = d.units
  for i = 1, #units do
    if units[i] > 0 then
      local fit = counter_room(target.counters[i], units[i])
      if fit < n then
        n = fit
      end
    end
  end
  return math.max(1, math.floor(n))
end

local shares = waiting + 1
local round = (field.v or 0) + 0
local reply, size -- size: the elements of reply so far
local turns, delayed = {}, NONE -- turns: those of targets that were used

-- take_turn moves this session's turn ahead by what n calls on a target take of the pool.
local function take_turn(target, d, n)
  local takes = 0
  for i, cost in ipairs(d.units) do
    takes = math.max(takes, target.counters[i].limit.interval * cost * n)
  end
  turn = math.max(turn, math.min(turn + takes * shares / d.open, now + 2 * d.bound))
end

-- next_round advances round robin by n calls, and returns the next key.
local function next_round(target, d, n)
  local its = turn_of(target, d.model_group)
  if its.pass > round then
    round = its.pass
  end
  its.pass = round + n / weight(target)
  if not its.used then
    its.used = true
    turns[#turns + 1] = its
  end
  return next_key(target)
end

-- charge books n calls of a demand at one send time.
local function charge(target, d, n)
  local send_at, units = target.send_at, d.units
  delayed = target.binding
  if send_at <= now then
    send_at, delayed = now, NONE
  end
  for i = 1, #units do
    if units[i] > 0 then
      counter_charge(target.counters[i], send_at, units[i] * n)
    end
  end
  if shares > 1 then
    take_turn(target, d, n)
  end
  if concurrency > 0 then
    local account = target.account
    account.held, account.taken = account.held + n, account.taken + n
    held_here, free = held_here + n, free - n
  end
  reply[size + 1], reply[size + 2] = target.index, next_round(target, d, n)
  reply[size + 3], reply[size + 4] = n, math.ceil((send_at - now) * 1000000)
  size = size + 4
end

local wake, reason, poll = math.huge, '', false
local function ask_again(at)
  wake = math.min(wake, math.max(0, at - now))
end

-- why_closed returns what delays a demand that has no open target.
local function why_closed(d)
  local back, disabled, why = math.huge, true, ''
  for _, target in ipairs(d.targets) do
    back, disabled = math.min(back, target.back), disabled and target.disabled
  end
  ask_again(back)
  if not disabled then
    return COOLDOWN
  end
  for _, target in ipairs(targets_of(d.model_group)) do
    if not target.disabled then -- it is excluded
      return EXCLUDED
    end
    why = target.reason or why
  end
  reason = reason ~= '' and reason or why
  return DISABLED
end

-- why_none returns what delays a demand for which choose_target found no target.
local function why_none(d, no_permit)
  if no_permit then
    poll = true
    return PERMITS
  end
  for _, target in ipairs(d.targets) do
    if not target.closed then
      return NONE -- earlier calls have reserved it
    end
  end
  return why_closed(d)
end

-- reserve reserves a target for a demand that must wait, and returns the limit that delays it. Later demands skip a reserved
-- target. A target that a count delays isn't reserved: what is left of the count may still fit a smaller call.
local function reserve(target, d, ahead, my_turn)
  target.reserved = limits[target.binding + 1].ends == 0
  local at = target.bookable_at - ahead
  if not my_turn then
    at = math.min(at, math.max(turn - d.bound, target.bookable_at - d.reach))
  end
  ask_again(at)
  return target.binding
end

-- grow raises the bursts of a demand's targets to the cost of its calls.
local function grow(d)
  for i, limit in ipairs(d.model_group.limits) do
    if may_grow(limit, d.units[i]) then
      for _, target in ipairs(d.targets) do
        if not target.closed then
          counter_grow(target.counters[i], d.units[i])
        end
      end
    end
  end
end

-- admit books up to n calls of a demand, and returns how many are left and what delays them.
local function admit(n, d)
  grow(d)
  d.open = evaluate_all(d)
  local portion = math.ceil(n / math.max(1, d.open))
  -- Calls of low priority have a shorter reach. What they took doesn't delay the session's urgent calls.
  d.bound = math.max(horizon, 4 * d.reach)
  while n > 0 do
    local my_turn = shares == 1 or turn <= now + d.bound
    local ahead = my_turn and d.reach or math.min(d.reach, horizon / 8)
    local target, no_permit = choose_target(d, ahead)
    if not target then
      return n, why_none(d, no_permit)
    elseif target.bookable_at > now + ahead then
      poll = poll or no_permit -- a permit of another target may be released before
      return n, reserve(target, d, ahead, my_turn)
    end
    local calls = 1
    if portion > 1 and on_trial(target) == 0 then
      calls = ready_calls(target, d, math.min(n, portion))
    end
    charge(target, d, calls)
    n = n - calls
    if n > 0 and d.model_group.shares then
      evaluate_all(d)
    elseif n > 0 then
      evaluate(target, d)
    end
  end
  return 0, NONE
end

-- allowed returns the targets of a model group without those that the next arguments exclude.
local function allowed(model_group)
  local targets, excluded, n = targets_of(model_group), {}, num()
  if n == 0 then
    return targets
  end
  for _ = 1, n do
    excluded[num()] = true
  end
  local some = {}
  for i, target in ipairs(targets) do
    if not excluded[i] then
      some[#some + 1] = target
    end
  end
  return some
end

local left, binding, groups = 0, NONE, num()
reply = { 0, 0, 0, 0, 0, 0, 0, '' }
for _ = 1, groups do
  reply[#reply + 1], reply[#reply + 2] = 0, NONE
end
size = #reply
for g = 1, groups do
  local n, model_group, reach, preferred = num(), model_groups[num()], num(), num() - 1
  local targets, cost, units = allowed(model_group), {}, {}
  for m = 1, metrics do
    cost[m] = num()
  end
  local bookable_after, send_after, shared = {}, {}, {}
  for i, limit in ipairs(model_group.limits) do
    units[i] = cost[limit.metric]
    if limit.ends == 0 then
      bookable_after[i] = gcra_send_at(0, -math.huge, limit.interval, limit.burst, 1)
      send_after[i] = gcra_send_at(0, -math.huge, limit.interval, limit.burst, units[i])
      shared[i] = limit
    end
  end
  local over, why = admit(n, {
    model_group = model_group, targets = targets, reach = reach, preferred = preferred,
    units = units, bookable_after = bookable_after, send_after = send_after, limits = shared,
  })
  left = left + over
  if binding == NONE then
    binding = why
  end
  reply[7 + 2 * g], reply[8 + 2 * g] = n - over, why
end
