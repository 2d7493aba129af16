-- The second part of gcra.lua: the operations, and the reply. Expects core.lua and gcra.lua.

local keys = #KEYS
local ahead, given = {}, {} -- per key: TAT-now in seconds, not below 0; given back
local absent, dirty, hold = {}, {}, {} -- per key: not in Redis; to be written; to be kept for so many seconds
local missing = {}                     -- per key: absent, and restored from what the client knows
local reply = {now_us}

for i = 1, keys do
  ahead[i], given[i], dirty[i], absent[i] = load(KEYS[i], ARGV[2 + i])
  if not ahead[i] then
    return redis.error_reply(FOREIGN)
  end
  missing[i] = dirty[i] and absent[i]
end

local captured = false

-- capture puts the states into the reply, once.
local function capture()
  captured = true
  for i = 1, keys do
    local ns = floor(ahead[i] * 1000000000 + 0.5)
    if missing[i] then
      ns = -1 - ns
    end
    reply[2 * i] = ns
    reply[2 * i + 1] = given[i]
  end
end

-- give_back lowers the TAT of key i by some seconds.
local function give_back(i, seconds)
  local a = ahead[i]
  if not hold[i] or hold[i] < a then
    hold[i] = a -- older states that clients know must not outlive this one
  end
  given[i] = (given[i] + ceil(seconds * 1000000)) % TURN
  dirty[i] = true
  ahead[i] = a - seconds
  if ahead[i] < 0.000002 then -- what is left is the rounding of given
    ahead[i] = 0
  end
end

local index, interval, burst, cost, units = {}, {}, {}, {}, {} -- the limits of one operation
local lost = {}                                                -- by RESERVE, see reserve

-- read_limits reads n limits with their costs from ARGV, the first at p, and returns the position of the next argument.
local function read_limits(p, n)
  for j = 1, n do
    index[j] = tonumber(ARGV[p])
    interval[j] = tonumber(ARGV[p + 1])
    burst[j] = tonumber(ARGV[p + 2])
    cost[j] = tonumber(ARGV[p + 3])
    units[j] = in_units(ahead[index[j]], interval[j])
    p = p + 4
  end
  return p
end

-- The operations as they are named on the wire: see gcra.lua.
local ALLOW, AT_MOST, RESERVE, REFUND, CHARGE, OBSERVE, STEP_BACK, RESET = 'a', 'm', 'r', 'g', 'd', 'o', 's', 'z'

local op = {}

op[ALLOW] = function(p)
  local fit, n = tonumber(ARGV[p]), tonumber(ARGV[p + 1])
  p = read_limits(p + 2, n)
  for j = 1, n do
    local room = burst[j] - units[j]
    if cost[j] > 0 then
      room = floor(room / cost[j])
      if room < fit then
        fit = room
      end
    elseif room < 0 then
      fit = 0
    end
  end
  if fit <= 0 then
    return p, 0
  end
  for j = 1, n do
    if cost[j] > 0 then
      ahead[index[j]] = (units[j] + fit * cost[j]) * interval[j]
      dirty[index[j]] = true
    end
  end
  return p, fit
end

op[AT_MOST] = function(p)
  local count = tonumber(ARGV[p])
  p = read_limits(p + 2, 1)
  local take = floor(burst[1] - units[1])
  if take > count * cost[1] then
    take = count * cost[1]
  end
  if take <= 0 then
    return p, 0
  end
  ahead[index[1]] = (units[1] + take) * interval[1]
  dirty[index[1]] = true
  return p, take
end

-- reserve books one call at the earliest time for its n limits, if that is at most wait seconds away.
--
-- A limit that doesn't cause the wait is charged later than it could be. If an earlier charge is then given back, this call
-- must not move closer to the calls behind it. So that stretch counts as given back already.
local function reserve(n, wait)
  local slot = 0
  for j = 1, n do
    local s = (units[j] + cost[j] - burst[j]) * interval[j]
    if s > slot then
      slot = s
    end
  end
  if wait and slot > wait then
    return false
  end
  for j = 1, n do
    local later = slot - (units[j] + cost[j] - burst[j]) * interval[j]
    if slot > 0 and later > GRAIN and cost[j] > 0 then
      lost[j] = lost[j] + math.min(later, burst[j] * interval[j])
    end
    if units[j] * interval[j] < slot then
      units[j] = slot / interval[j]
    end
    units[j] = units[j] + cost[j]
  end
  return true
end

op[RESERVE] = function(p)
  local count, n = tonumber(ARGV[p]), tonumber(ARGV[p + 1])
  p = read_limits(p + 2, n)
  local waits = tonumber(ARGV[p])
  p = p + 1
  for j = 1, n do
    lost[j] = 0
  end
  local result = count
  if waits == 0 then
    for _ = 1, count do
      reserve(n)
    end
  else
    result = {}
    local bits, bit = 0, 1
    for r = 1, count do
      if reserve(n, tonumber(ARGV[p]) / 1000000) then
        bits = bits + bit
      end
      p = p + 1
      bit = bit * 2
      if r % 32 == 0 or r == count then
        result[#result + 1] = bits
        bits, bit = 0, 1
      end
    end
  end
  for j = 1, n do
    local i = index[j]
    local a = math.min(units[j] * interval[j], FARTHEST)
    if a ~= ahead[i] then
      ahead[i] = a
      dirty[i] = true
      given[i] = (given[i] + ceil(lost[j] * 1000000)) % TURN
    end
  end
  return p, result
end

-- A charge can be given back up to the least of: what it took; what hasn't drained since; and what keeps the calls charged
-- after it within the burst, wherever in time they are booked. If nothing was charged after it, the cost may
-- be that of several charges in a row. The result is the microseconds given back.
op[REFUND] = function(p)
  p = read_limits(p, 1)
  local i, left = index[1], tonumber(ARGV[p]) - now
  local since = (given[i] - tonumber(ARGV[p + 1])) % TURN
  p = p + 2
  local back = since / 1000000
  local after = ahead[i] - left + back -- charged after it
  if since >= TURN / 2 or after < -0.00001 then
    return p, 0 -- not the history that the charge was part of
  end
  local seconds = math.min(cost[1] * interval[1], left - back)
  if after > 0.00001 or after > interval[1] / 2 then
    seconds = math.min(seconds, burst[1] * interval[1] - after)
  end
  if seconds <= 0 then
    return p, 0
  end
  give_back(i, seconds)
  return p, ceil(seconds * 1000000)
end

op[CHARGE] = function(p)
  p = read_limits(p, 1)
  ahead[index[1]] = math.min((units[1] + cost[1]) * interval[1], FARTHEST)
  dirty[index[1]] = true
  return p, 1
end

op[OBSERVE] = function(p)
  p = read_limits(p, 1) -- the cost is what remains
  local reset = tonumber(ARGV[p])
  local a = (burst[1] - cost[1]) * interval[1]
  if reset > 0 then
    a = math.min(a - interval[1] + reset, FARTHEST)
  end
  if a <= ahead[index[1]] then
    return p + 1, 0
  end
  ahead[index[1]] = a
  dirty[index[1]] = true
  return p + 1, 1
end

-- What was given back since the state was seen is subtracted, since another client may have reported the same step.
op[STEP_BACK] = function(p)
  local i, seconds = tonumber(ARGV[p]), tonumber(ARGV[p + 1])
  local tat, since = tonumber(ARGV[p + 2]), (given[i] - tonumber(ARGV[p + 3])) % TURN
  p = p + 4
  if since >= TURN / 2 or ahead[i] < tat - now - since / 1000000 - 0.00001 then
    return p, 0 -- not the history that the state was part of
  end
  seconds = seconds - since / 1000000
  if seconds <= 0 or ahead[i] == 0 then
    return p, 0
  end
  give_back(i, seconds)
  return p, 1
end

op[RESET] = function(p)
  local i = tonumber(ARGV[p])
  hold[i] = tonumber(ARGV[p + 1])
  if absent[i] then
    given[i] = (given[i] + 10000000000) % TURN -- later than what anybody may still remember
  end
  give_back(i, ahead[i] + 0.000001)
  return p + 2, 1
end

local p = 3 + keys
local out = 2 * keys + 2
while ARGV[p] do
  local name = ARGV[p]
  local run = op[name]
  if not captured and (name == ALLOW or name == AT_MOST or name == RESERVE) then
    capture()
  end
  if not run then
    return redis.error_reply('ERR unknown operation in the arguments of the rate limit script')
  end
  local result
  p, result = run(p + 1)
  if type(result) == 'table' then
    for b = 1, #result do
      reply[out] = result[b]
      out = out + 1
    end
  else
    reply[out] = result
    out = out + 1
  end
end

if not captured then
  capture()
end

for i = 1, keys do
  if dirty[i] then
    local seconds = ahead[i]
    if hold[i] and hold[i] > seconds then
      seconds = hold[i]
    end
    store(KEYS[i], ahead[i], given[i], seconds)
  end
end
return reply
