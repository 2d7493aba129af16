-- Third part of the pool's script: admission.

-- price works out when a lane could serve a call: from when a place may be booked, the same for every cost, so that
-- small calls don't starve large ones; and the slot itself. Both may lie in the past: the further, the more headroom.
local function price(lane, cost)
  local opens, slot, binding = 0, 0, NONE
  for _, c in ipairs(lane.counters) do
    local units = cost[c.metric]
    if units > 0 then
      opens = gcra_slot(c.tat, opens, c.interval, c.burst, 1)
      local its_slot = gcra_slot(c.tat, 0, c.interval, c.burst, units)
      if its_slot > slot then
        slot, binding = its_slot, c.index
      end
    end
  end
  lane.opens, lane.slot, lane.binding = opens, slot, binding
end

-- price_all prices the lanes that are open and returns how many those are.
local function price_all(first, last, cost)
  local n = 0
  for i = first, last do
    if lanes[i].open then
      price(lanes[i], cost)
      n = n + 1
    end
  end
  return n
end

-- best returns the lane with the earliest slot that has a permit to give, and whether any lacked only that.
local function best(first, last)
  local chosen, no_permit
  for i = first, last do
    local lane = lanes[i]
    if lane.open and not lane.claimed then
      if room(lane) < 1 then
        no_permit = true
      elseif not chosen or lane.slot < chosen.slot then
        chosen = lane
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
      local left = now + c.burst * c.interval - math.max(c.tat, now)
      n = math.min(n, math.floor(left / (units * c.interval)))
    end
  end
  return n
end

local shares = waiting + 1
local runs, delayed = {}, NONE

-- charge books n calls at one slot.
local function charge(lane, cost, n, lanes_open)
  local slot = math.max(now, lane.slot)
  local takes = 0
  delayed = lane.slot > now and lane.binding or NONE
  for _, c in ipairs(lane.counters) do
    local units = cost[c.metric]
    if units > 0 then
      c.tat = gcra_charge(c.tat, slot, c.interval, units * n)
      c.charged = true
      takes = math.max(takes, c.interval * units * n)
    end
  end
  if shares > 1 then
    turn = math.min(turn + takes * shares / lanes_open, now + 2 * horizon)
  end
  local p = lane.permits
  if p then
    p.held, p.taken = p.held + n, p.taken + n
    held_here, free = held_here + n, free - n
  end
  local size = #runs
  runs[size + 1] = lane.index
  runs[size + 2] = lane.keys[lane.cursor % #lane.keys + 1]
  runs[size + 3] = n
  runs[size + 4] = math.ceil((slot - now) * 1000000)
  lane.cursor = lane.cursor + 1
  lane.used = true
end

local wake, binding, reason = math.huge, NONE, ''
local poll = false
local function blocked(at, why)
  if binding == NONE then
    binding = why
  end
  wake = math.min(wake, math.max(0, at - now))
end

-- all_closed says why no lane of a demand is open.
local function all_closed(first, last)
  local back, off, why = math.huge, true, ''
  for i = first, last do
    local lane = lanes[i]
    back = math.min(back, lane.back)
    off = off and lane.off
    why = lane.reason or why
  end
  if off and binding == NONE then
    reason = why
  end
  blocked(back, off and DISABLED or COOLDOWN)
end

-- admit books up to n equal calls on the lanes from first to last, and returns how many it could not.
local function admit(n, first, last, cost)
  local lanes_open = price_all(first, last, cost)
  if lanes_open == 0 then
    all_closed(first, last)
    return n
  end
  local portion = math.ceil(n / lanes_open)
  while n > 0 do
    local lane, no_permit = best(first, last)
    if not lane then
      if no_permit then
        poll = true
        blocked(math.huge, PERMITS)
      end
      return n
    end
    local my_turn = shares == 1 or turn <= now + horizon
    local ahead = my_turn and horizon or horizon / 4
    if lane.opens > now + ahead then
      -- First come, first served: nobody behind gets this lane before.
      lane.claimed = true
      poll = poll or no_permit -- another lane may get one back before
      local at = lane.opens - ahead
      if not my_turn then
        at = math.min(at, math.max(turn, lane.opens) - horizon)
      end
      blocked(at, lane.binding)
      return n
    end
    local some = 1
    if portion > 1 then
      some = math.max(1, math.min(n, portion, room(lane), at_once(lane, cost)))
    end
    charge(lane, cost, some, lanes_open)
    if lane.shares then
      price_all(first, last, cost)
    else
      price(lane, cost)
    end
    n = n - some
  end
  return 0
end

local admitted, left = {}, 0
for g = 1, num() do
  local n, first, last, cost = num(), num(), num(), {}
  for m = 1, metrics do
    cost[m] = num()
  end
  local over = admit(n, first, last, cost)
  left, admitted[g] = left + over, n - over
end
