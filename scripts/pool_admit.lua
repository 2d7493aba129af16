-- Part of the pool's script: admission. A demand d is a run of equal calls: d.lanes are those that they may take,
-- d.units what each call takes of each limit of its family, d.reach how many seconds ahead they may be booked. d.opens
-- and d.slots say for each of these limits how long after a counter's theoretical arrival time a call could be booked if
-- it cost one unit, and with its cost; but for counts, and counters with a limit of their own.

-- price works out when a lane could serve a call: from when a place may be booked, the same for every cost, so that
-- small calls don't starve large ones; and the slot itself. Both may lie in the past: the further, the more headroom.
-- What a count has no room for isn't booked before it starts anew. Lanes are ranked by that: lower is better. Those that
-- can serve now come first, in the order of the strategy; the others by their slots.
local function price(lane, d)
  local opens, slot, binding = 0, 0, NONE
  local units, its_counters = d.units, lane.counters
  for i = 1, #units do
    local cost = units[i]
    if cost > 0 then
      local c = its_counters[i]
      local its_opens, its_slot
      if c.limit == d.limits[i] then
        its_opens, its_slot = c.tat + d.opens[i], c.tat + d.slots[i]
      else
        its_opens, its_slot = counter_slots(c, cost)
      end
      if its_opens > opens then
        opens = its_opens
      end
      if its_slot > slot then
        slot, binding = its_slot, c.limit.index
      end
    end
  end
  lane.opens, lane.slot, lane.binding = opens, slot, binding
  if slot > now then
    lane.rank = slot
  elseif strategy == 'first_available' then
    lane.rank = lane.index - 1e9
  elseif strategy == 'round_robin' then
    lane.rank = turn_of(lane, d.family).pass - 1e12
  else
    lane.rank = -math.min(now - slot, 3600) * weight(lane)
  end
end

-- price_all prices the lanes of a demand that are open and returns how many they are.
local function price_all(d)
  local n = 0
  for i = 1, #d.lanes do
    local lane = d.lanes[i]
    if not lane.closed then
      price(lane, d)
      n = n + 1
    end
  end
  return n
end

-- best returns which lane to take, and whether any lacked only a permit.
local function best(d, ahead)
  local chosen, its_rank, no_permit
  local none, lanes, preferred = room() < 1, d.lanes, d.preferred
  for i = 1, #lanes do
    local lane = lanes[i]
    if not lane.closed and not lane.claimed then
      if none or lane.account.taken >= lane.account.permits then
        no_permit = true
      elseif lane.index == preferred and lane.slot <= now + ahead then
        return lane, no_permit
      else
        local rank = lane.rank
        if not chosen or rank < its_rank
          or (rank == its_rank and turn_of(lane, d.family).pass < turn_of(chosen, d.family).pass) then
          chosen, its_rank = lane, rank
        end
      end
    end
  end
  return chosen, no_permit
end

-- at_once returns how many of n calls of a demand a lane can serve now, one at least.
local function at_once(lane, d, n)
  n = math.min(n, room(), lane.account.permits - lane.account.taken)
  local units = d.units
  for i = 1, #units do
    if units[i] > 0 then
      local fit = counter_room(lane.counters[i], units[i])
      if fit < n then
        n = fit
      end
    end
  end
  return math.max(1, math.floor(n))
end

local shares = waiting + 1
local round = (field.v or 0) + 0
local reply, size -- its last element so far
local turns, delayed = {}, NONE -- turns: of lanes that were used

-- take_turn moves the turn of this session ahead by what n calls on a lane take of the pool.
local function take_turn(lane, d, n)
  local takes = 0
  for i, cost in ipairs(d.units) do
    takes = math.max(takes, lane.counters[i].limit.interval * cost * n)
  end
  turn = math.max(turn, math.min(turn + takes * shares / d.open, now + 2 * d.bound))
end

-- take_lane moves round robin, and returns the key that is next.
local function take_lane(lane, d, n)
  local its = turn_of(lane, d.family)
  if its.pass > round then
    round = its.pass
  end
  its.pass = round + n / weight(lane)
  if not its.used then
    its.used = true
    turns[#turns + 1] = its
  end
  return next_key(lane)
end

-- charge books n calls of a demand at one slot.
local function charge(lane, d, n)
  local slot, units = lane.slot, d.units
  delayed = lane.binding
  if slot <= now then
    slot, delayed = now, NONE
  end
  for i = 1, #units do
    if units[i] > 0 then
      counter_charge(lane.counters[i], slot, units[i] * n)
    end
  end
  if shares > 1 then
    take_turn(lane, d, n)
  end
  if concurrency > 0 then
    local account = lane.account
    account.held, account.taken = account.held + n, account.taken + n
    held_here, free = held_here + n, free - n
  end
  reply[size + 1], reply[size + 2] = lane.index, take_lane(lane, d, n)
  reply[size + 3], reply[size + 4] = n, math.ceil((slot - now) * 1000000)
  size = size + 4
end

local wake, reason, poll = math.huge, '', false
local function ask_again(at)
  wake = math.min(wake, math.max(0, at - now))
end

-- all_closed says what is in the way of a demand none of whose lanes is open.
local function all_closed(d)
  local back, off, why = math.huge, true, ''
  for _, lane in ipairs(d.lanes) do
    back, off = math.min(back, lane.back), off and lane.off
  end
  ask_again(back)
  if not off then
    return COOLDOWN
  end
  for _, lane in ipairs(lanes_of(d.family)) do
    if not lane.off then -- it is excluded
      return EXCLUDED
    end
    why = lane.reason or why
  end
  reason = reason ~= '' and reason or why
  return DISABLED
end

-- nothing_left says what is in the way of a demand for which there is no lane to choose.
local function nothing_left(d, no_permit)
  if no_permit then
    poll = true
    return PERMITS
  end
  for _, lane in ipairs(d.lanes) do
    if not lane.closed then
      return NONE -- earlier calls have claimed it
    end
  end
  return all_closed(d)
end

-- claim has the calls of a demand wait for a lane, and says what for. First come, first served: nobody behind gets it
-- before; but for the rest of a count, which is of no use to this call.
local function claim(lane, d, ahead, my_turn)
  lane.claimed = limits[lane.binding + 1].ends == 0
  local at = lane.opens - ahead
  if not my_turn then
    at = math.min(at, math.max(turn - d.bound, lane.opens - d.reach))
  end
  ask_again(at)
  return lane.binding
end

-- grow lets the bursts of a demand's lanes grow to what its calls cost.
local function grow(d)
  for i, limit in ipairs(d.family.limits) do
    if may_grow(limit, d.units[i]) then
      for _, lane in ipairs(d.lanes) do
        if not lane.closed then
          counter_grow(lane.counters[i], d.units[i])
        end
      end
    end
  end
end

-- admit books up to n calls of a demand, and returns how many it could not, and why.
local function admit(n, d)
  grow(d)
  d.open = price_all(d)
  local portion = math.ceil(n / math.max(1, d.open))
  -- What a session's calls of lower priority, which reach less far, have taken isn't held against its urgent ones.
  d.bound = math.max(horizon, 4 * d.reach)
  while n > 0 do
    local my_turn = shares == 1 or turn <= now + d.bound
    local ahead = my_turn and d.reach or math.min(d.reach, horizon / 8)
    local lane, no_permit = best(d, ahead)
    if not lane then
      return n, nothing_left(d, no_permit)
    elseif lane.opens > now + ahead then
      poll = poll or no_permit -- another lane may get one back before
      return n, claim(lane, d, ahead, my_turn)
    end
    local calls = 1
    if portion > 1 and on_trial(lane) == 0 then
      calls = at_once(lane, d, math.min(n, portion))
    end
    charge(lane, d, calls)
    n = n - calls
    if n > 0 and d.family.shares then
      price_all(d)
    elseif n > 0 then
      price(lane, d)
    end
  end
  return 0, NONE
end

-- allowed returns the lanes of a family without those that the next arguments exclude.
local function allowed(family)
  local lanes, excluded, n = lanes_of(family), {}, num()
  if n == 0 then
    return lanes
  end
  for _ = 1, n do
    excluded[num()] = true
  end
  local some = {}
  for i, lane in ipairs(lanes) do
    if not excluded[i] then
      some[#some + 1] = lane
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
  local n, family, reach, preferred = num(), families[num()], num(), num() - 1
  local lanes, cost, units = allowed(family), {}, {}
  for m = 1, metrics do
    cost[m] = num()
  end
  local opens, slots, shared = {}, {}, {}
  for i, limit in ipairs(family.limits) do
    units[i] = cost[limit.metric]
    if limit.ends == 0 then
      opens[i] = gcra_slot(0, -math.huge, limit.interval, limit.burst, 1)
      slots[i] = gcra_slot(0, -math.huge, limit.interval, limit.burst, units[i])
      shared[i] = limit
    end
  end
  local over, why = admit(n, {
    family = family, lanes = lanes, reach = reach, preferred = preferred,
    units = units, opens = opens, slots = slots, limits = shared,
  })
  left = left + over
  if binding == NONE then
    binding = why
  end
  reply[7 + 2 * g], reply[8 + 2 * g] = n - over, why
end
