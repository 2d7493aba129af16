-- Part of the pool's script: admission.

-- price works out when a lane could serve a call: from when a place may be booked, the same for every cost, so that
-- small calls don't starve large ones; and the slot itself. Both may lie in the past: the further, the more headroom.
-- What a count has no room for isn't booked before it starts anew.
local function price(lane, cost)
  local opens, slot, binding = 0, 0, NONE
  for _, c in ipairs(lane.counters) do
    local units = cost[c.metric]
    if units > 0 then
      opens = counter_slot(c, opens, c.used and units or 1)
      local its_slot = counter_slot(c, 0, units)
      if its_slot > slot then
        slot, binding = its_slot, c.index
      end
    end
  end
  lane.opens, lane.slot, lane.binding = opens, slot, binding
end

-- price_all prices those of some lanes that are open and returns how many they are.
local function price_all(some, cost)
  local n = 0
  for _, lane in ipairs(some) do
    if lane.open then
      price(lane, cost)
      n = n + 1
    end
  end
  return n
end

local round = tonumber(field.v or '0')

-- rank orders lanes: lower is better. Those that can serve now come first, in the order of the strategy; the others by
-- their slots.
local function rank(lane, preferred, ahead)
  if lane.index == preferred and lane.slot <= now + ahead then
    return -math.huge
  elseif lane.slot > now then
    return lane.slot
  elseif strategy == 'in_order' then
    return lane.index - 1e9
  elseif strategy == 'round_robin' then
    return math.max(lane.pass, round) - 1e12
  end
  return -math.min(now - lane.slot, 3600) * lane.weight
end

-- best returns which of some lanes to take, and whether any lacked only a permit.
local function best(some, preferred, ahead)
  local chosen, its_rank, no_permit
  for _, lane in ipairs(some) do
    if lane.open and not lane.claimed then
      if room(lane) < 1 then
        no_permit = true
      else
        local r = rank(lane, preferred, ahead)
        if not chosen or r < its_rank or (r == its_rank and lane.pass < chosen.pass) then
          chosen, its_rank = lane, r
        end
      end
    end
  end
  return chosen, no_permit
end

-- at_once returns how many calls of a cost a lane can serve now.
local function at_once(lane, cost)
  local n = math.huge
  for _, c in ipairs(lane.counters) do
    local units = cost[c.metric]
    if units > 0 then
      n = math.min(n, counter_room(c, units))
    end
  end
  return n
end

local shares = waiting + 1
local runs, delayed = {}, NONE

-- next_key returns the key that is next: one on trial first, for one call.
local function next_key(lane)
  if #lane.trials > 0 then
    return try(lane)
  end
  lane.cursor = lane.cursor + 1
  return lane.keys[(lane.cursor - 1) % #lane.keys + 1] - 1
end

-- charge books n calls at one slot. bound is how far ahead a turn may lie for such calls.
local function charge(lane, cost, n, lanes_open, bound)
  local slot = math.max(now, lane.slot)
  local takes = 0
  delayed = lane.slot > now and lane.binding or NONE
  for _, c in ipairs(lane.counters) do
    local units = cost[c.metric]
    if units > 0 then
      counter_charge(c, slot, units * n)
      takes = math.max(takes, c.interval * units * n)
    end
  end
  if shares > 1 then
    turn = math.max(turn, math.min(turn + takes * shares / lanes_open, now + 2 * bound))
  end
  local p = lane.permits
  if p then
    p.held, p.taken = p.held + n, p.taken + n
    held_here, free = held_here + n, free - n
  end
  round = math.max(lane.pass, round)
  lane.pass = round + n / lane.weight
  local size = #runs
  runs[size + 1] = lane.index
  runs[size + 2] = next_key(lane)
  runs[size + 3] = n
  runs[size + 4] = math.ceil((slot - now) * 1000000)
  lane.used = true
end

local wake, reason, poll = math.huge, '', false
local function ask_again(at)
  wake = math.min(wake, math.max(0, at - now))
end

-- all_closed says what is in the way of a demand none of whose lanes is open. first to last are all lanes that would
-- do, some those of them that are not excluded.
local function all_closed(some, first, last)
  local back, off, why = math.huge, true, ''
  for _, lane in ipairs(some) do
    back, off = math.min(back, lane.back), off and lane.off
  end
  ask_again(back)
  if not off then
    return COOLDOWN
  end
  for i = first, last do
    if not lanes[i].off then -- it is excluded
      return EXCLUDED
    end
    why = lanes[i].reason or why
  end
  reason = reason ~= '' and reason or why
  return DISABLED
end

-- allowed returns the lanes from first to last without those that are excluded.
local function allowed(first, last, excluded)
  local some = {}
  for i = first, last do
    if not excluded[i] then
      some[#some + 1] = lanes[i]
    end
  end
  return some
end

-- admit books up to n equal calls on the lanes from first to last, and returns how many it could not, and why.
local function admit(n, first, last, excluded, reach, preferred, cost)
  local some = allowed(first, last, excluded)
  for _, lane in ipairs(some) do
    if lane.open then
      for _, c in ipairs(lane.counters) do
        counter_grow(c, cost[c.metric])
      end
    end
  end
  local lanes_open = price_all(some, cost)
  local portion = math.ceil(n / math.max(1, lanes_open))
  -- What a session's calls of lower priority, which reach less far, have taken isn't held against its urgent ones.
  local bound = math.max(horizon, 4 * reach)
  while n > 0 do
    local my_turn = shares == 1 or turn <= now + bound
    local ahead = my_turn and reach or math.min(reach, horizon / 8)
    local lane, no_permit = best(some, preferred, ahead)
    if not lane then
      if no_permit then
        poll = true
        return n, PERMITS
      elseif price_all(some, cost) == 0 then
        return n, all_closed(some, first, last)
      end
      return n, NONE -- others have claimed what comes next
    end
    if lane.opens > now + ahead then
      -- First come, first served: nobody behind gets this lane before; but for the rest of a count, which is of no use
      -- to this call.
      lane.claimed = not counters[lane.binding + 1].used
      poll = poll or no_permit -- another lane may get one back before
      local at = lane.opens - ahead
      if not my_turn then
        at = math.min(at, math.max(turn - bound, lane.opens - reach))
      end
      ask_again(at)
      return n, lane.binding
    end
    local calls = 1
    if portion > 1 and #lane.trials == 0 then
      calls = math.max(1, math.min(n, portion, room(lane), at_once(lane, cost)))
    end
    charge(lane, cost, calls, lanes_open, bound)
    if lane.shares then
      price_all(some, cost)
    else
      price(lane, cost)
    end
    n = n - calls
  end
  return 0, NONE
end

local admitted, left, binding = {}, 0, NONE
for g = 1, num() do
  local n, first, last, reach, preferred = num(), num(), num(), num(), num() - 1
  local excluded, cost = {}, {}
  for _ = 1, num() do
    excluded[num()] = true
  end
  for m = 1, metrics do
    cost[m] = num()
  end
  local over, why = admit(n, first, last, excluded, reach, preferred, cost)
  left = left + over
  if binding == NONE then
    binding = why
  end
  admitted[2 * g - 1], admitted[2 * g] = n - over, why
end
