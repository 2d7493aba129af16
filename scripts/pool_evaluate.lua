-- Part of the pool's script: which target serves a call, and when.
--
-- A demand d is a run of equal calls. d.group is its model group; d.targets those that it may take, as far as they are
-- looked at; d.units what each call takes of each limit of its group; d.reach how many seconds ahead they may be booked.
-- d.bookable_after and d.send_after say for each of these limits how long after a counter's theoretical arrival time a
-- call could be booked if it cost one unit, and with its cost; but for counts, and counters with a limit of their own.
--
-- Expects pool_permit.lua. Leaves admission, with the functions on targets and demands that pool_admit.lua uses.

local admission = {
  shares = 0, turn = 0, left = 0, binding = 0, delayed = 0, wake = 0, reason = 0, poll = 0, reply = 0, size = 0,
    round = 0,
  turn_of = 0, evaluate = 0, evaluate_all = 0, open_targets = 0, choose_target = 0, ready_calls = 0, take_turn = 0,
  next_key = 0, charge = 0, ask_again = 0, why_closed = 0, why_none = 0, reserve = 0, grow = 0, note_idle = 0,
  admit_on = 0, all_targets = false, make_waiting = 0
}

local others_waiting = sessions.sums.waiting
admission.shares = others_waiting + 1
admission.turn = state.own and math.max(state.now, state.own.turn) or state.now
admission.left, admission.binding, admission.delayed = 0, call.NONE, call.NONE
admission.wake, admission.reason, admission.poll = math.huge, '', false

local turns = {}
if call.strategy == 'round_robin' and hash.get('v') then
  admission.round = hash.numbers(hash.get('v'))
  if not admission.round then
    hash.broken('v')
    admission.round = 0
  end
end

-- turn_of returns the round robin of a target: which key is next, and the round.
function admission.turn_of(target, group)
  local its = target.turn
  if type(its) ~= 'table' then
    local name = its or 'r:' .. target.account.name .. ':' .. group.name .. ':' .. (target.key or '')
    local text, cursor, round = hash.get(name), 0, 0
    if text then
      cursor, round = hash.numbers(string.match(text, '^(%S+) (%S+) %S+$'))
      if not round then
        hash.broken(name)
        cursor, round = 0, 0
      end
    end
    its = { field = name, cursor = cursor, round = round, used = false }
    target.turn = its
  end
  return its
end

-- evaluate works out when a target could serve a call: from when a call may be booked, the same for every cost, so
-- that small calls don't starve large ones; and its send time. Both may lie in the past: the further, the less loaded.
-- What a count has no room for isn't booked before it starts anew. Targets are ranked by that: lower is better. Those
-- that can serve now come first, in the order of the strategy; the others by their send times.
function admission.evaluate(target, d)
  local bookable_at, send_at, its_binding = 0, 0, call.NONE
  local units, its_counters = d.units, target.counters
  for i = 1, d.n do
    local cost = units[i]
    if cost > 0 then
      local c = its_counters[i]
      local c_bookable_at, c_send_at
      if c.limit == d.limits[i] then
        c_bookable_at, c_send_at = c.tat + d.bookable_after[i], c.tat + d.send_after[i]
      else
        c_bookable_at, c_send_at = counting.counter_times(c, cost)
      end
      if c_bookable_at > bookable_at then
        bookable_at = c_bookable_at
      end
      if c_send_at > send_at then
        send_at, its_binding = c_send_at, c.limit.index
      end
    end
  end
  target.bookable_at, target.send_at, target.binding = bookable_at, send_at, its_binding
  if send_at > state.now then
    target.rank = send_at
  elseif call.strategy == 'first_available' then
    target.rank = target.index - 1e9
  elseif call.strategy == 'round_robin' then
    target.rank = admission.turn_of(target, d.group).round - 1e12
  else
    local rest = state.now - send_at
    target.rank = (rest > 3600 and -3600 or -rest) * target.weight
  end
end

-- evaluate_all evaluates the targets of a demand that are open and returns how many they are.
function admission.evaluate_all(d)
  local n, list = 0, d.targets
  for i = 1, #list do
    local target = list[i]
    if not target.closed then
      admission.evaluate(target, d)
      n = n + 1
    end
  end
  return n
end

-- open_targets makes targets ready for evaluation: their counters, permits and usable keys.
function admission.open_targets(list)
  for i = 1, #list do
    local target = list[i]
    if not target.counters then
      local its_counters, fields, its = { false, false, false, false }, target.fields, target.limits
      for k = 1, #its do
        its_counters[k] = fields[k] and counting.counter_at(its[k], fields[k]) or counting.unlimited
      end
      target.counters = its_counters
      if call.permits_limited then
        permit.prepare(target.account)
      end
    end
  end
end

-- choose_target returns the target to take, and whether some target lacked only a permit. A target in use in this call
-- comes after others of the same rank.
function admission.choose_target(d, ahead, at_once)
  local chosen, its_rank, no_permit
  local none, list, preferred = permit.room() < 1, d.targets, d.preferred
  for i = 1, #list do
    local target = list[i]
    if not target.closed and not target.reserved then
      if call.permits_limited and (none or target.account.taken >= target.account.permits) then
        no_permit = true
      elseif target.index == preferred and target.send_at <= state.now + ahead then
        return target, no_permit
      elseif not at_once or target.send_at <= state.now then
        local rank = target.rank
        if not chosen or rank < its_rank or (rank == its_rank and target.used < chosen.used) then
          chosen, its_rank = target, rank
        end
      end
    end
  end
  return chosen, no_permit
end

-- ready_calls returns how many of n calls of a demand a target can serve now, one at least.
function admission.ready_calls(target, d, n)
  if call.permits_limited then
    n = math.min(n, permit.room(), target.account.permits - target.account.taken)
  end
  local units = d.units
  for i = 1, d.n do
    if units[i] > 0 then
      local fit = counting.counter_room(target.counters[i], units[i])
      if fit < n then
        n = fit
      end
    end
  end
  return math.max(1, math.floor(n))
end
