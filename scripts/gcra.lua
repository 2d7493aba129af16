-- Rate limits (GCRA): many operations on many limits in one call, each as if it came alone, in their order.
--
-- KEYS  one string per limit: its theoretical arrival time (TAT) as decimal text, seconds since 2017. Text of 25
--       characters or more ends in 15 digits, beyond what a double can tell: how much was ever given back, in
--       microseconds modulo 10^15 (see below). Shorter text, as redis_rate writes it: nothing was.
-- ARGV  1    now in microseconds since 2017, for tests; empty: Redis' clock
--       2    deadline in microseconds since 2017: a script that starts later does nothing; 0: none
--       3..  one per key: the latest state that the client knows, as text; empty: none
--       then operations to the end. A limit is: number of its key (from 1), interval in seconds, burst.
--       a  count, number of limits, {limit, cost}...   count calls, each with all its costs now or not at all
--       m  count, 1, {limit, cost}                     count calls, each with at most its cost now
--       r  count, number of limits, {limit, cost}..., number of waits (0 or count), waits...
--                                                      count calls, each with all its costs at the earliest time
--                                                      for all, if that is at most its wait (microseconds) away
--       g  limit, cost, TAT after the charge, given back then      gives back what is safe of a charge
--       d  limit, cost                                 charges, whatever the state: a debt
--       o  limit, remaining, seconds                   the provider's word: that many more units for so long
--       z  number of a key, seconds                     resets; for so long others may remember what was before
-- Reply {now in microseconds, then per key: TAT-now in nanoseconds (0 at least) and what was given back, both as
--       they were before the first a, m or r; then per operation: a, r without waits: calls admitted, the first ones;
--       m: units admitted; r with waits: a bit per call, 32 in a number, lowest first; others: 1 if it had effect}.
--       Too late: the error LATE. A key that holds something else: the error WRONGTYPE.
--
-- Given back: TATs only rise, except by g and z, which count by how much. Of two states of a limit, the later is
-- then known: the one that has given back more, or else the one with the later TAT. So a Redis that lost writes
-- takes the clients' later states; and it is known how much of a charge was given back already in other ways.

local floor, ceil, format = math.floor, math.ceil, string.format
local GRAIN = 1.5e-7 -- twice the step of a double that holds a TAT, and a bit: times closer than this are equal
local TURN = 1e15    -- "given back" counts modulo this

-- parse_state returns the TAT and the amount given back that text holds, or nothing.
local function parse_state(text)
  local tat = tonumber(text)
  if not tat or tat - tat ~= 0 then
    return nil
  end
  if #text < 25 then
    return tat, 0
  end
  return tat, tonumber(string.sub(text, -15))
end

-- in_units returns a stretch of time in units of interval, cleaned of rounding errors.
local function in_units(stretch, interval)
  local units = stretch / interval
  local whole = floor(units + 0.5)
  local off = stretch - whole * interval
  if off < GRAIN and off > -GRAIN then
    return whole
  end
  return units
end

local now_us = tonumber(ARGV[1])
if not now_us then
  local t = redis.call('TIME')
  now_us = (tonumber(t[1]) - EPOCH) * 1000000 + tonumber(t[2])
end
local deadline = tonumber(ARGV[2])
if deadline > 0 and now_us > deadline then
  return redis.error_reply('LATE the deadline has passed')
end
local now = now_us / 1000000

local keys = #KEYS
local ahead, given = {}, {} -- per key: TAT-now in seconds, not below 0; given back
local absent, dirty, hold = {}, {}, {} -- per key: not in Redis; to be written; to be kept for so many seconds
local reply = {now_us}

for i = 1, keys do
  local text, known = redis.call('GET', KEYS[i]), ARGV[2 + i]
  local tat, back = now, 0
  if text then
    tat, back = parse_state(text)
    if not tat then
      return redis.error_reply('WRONGTYPE Key holds text that is not the state of a rate limit')
    end
  else
    absent[i] = true
  end
  if known ~= '' and known ~= text then
    local later, later_back = parse_state(known)
    local newer = (later_back - back) % TURN
    if later > now and newer < TURN / 2 and (later > tat or newer > 0) then
      if later > tat then
        tat = later
      end
      back = later_back
      dirty[i] = true
    end
  end
  local a = tat - now
  if a < 0 then
    a = 0
  end
  ahead[i], given[i] = a, back
end

local captured = false

-- capture puts the states into the reply, once.
local function capture()
  captured = true
  for i = 1, keys do
    reply[2 * i] = floor(ahead[i] * 1000000000 + 0.5)
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
  if ahead[i] < 0 then
    ahead[i] = 0
  end
end

local index, interval, burst, cost, units = {}, {}, {}, {}, {} -- the limits of one operation

-- read_limits reads n limits with their costs from ARGV, the first at p, and returns where the next argument is.
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

local op = {}

function op.a(p)
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

function op.m(p)
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
    if units[j] * interval[j] < slot then
      units[j] = slot / interval[j]
    end
    units[j] = units[j] + cost[j]
  end
  return true
end

function op.r(p)
  local count, n = tonumber(ARGV[p]), tonumber(ARGV[p + 1])
  p = read_limits(p + 2, n)
  local waits = tonumber(ARGV[p])
  p = p + 1
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
    local a = units[j] * interval[j]
    if a ~= ahead[i] then
      ahead[i] = a
      dirty[i] = true
    end
  end
  return p, result
end

-- Of a charge can be given back, at most: what it took; what hasn't drained since; and what leaves those that were
-- charged after it within the burst, wherever in time they are booked.
function op.g(p)
  p = read_limits(p, 1)
  local i, left = index[1], tonumber(ARGV[p]) - now
  local since = (given[i] - tonumber(ARGV[p + 1])) % TURN
  p = p + 2
  local back = since / 1000000
  local after = ahead[i] - left + back -- charged after it
  if since >= TURN / 2 or after < -0.00001 then
    return p, 0 -- not the history that the charge was part of
  end
  local seconds = math.min(cost[1] * interval[1], left - back, burst[1] * interval[1] - after)
  if seconds <= 0 then
    return p, 0
  end
  give_back(i, seconds)
  return p, 1
end

function op.d(p)
  p = read_limits(p, 1)
  ahead[index[1]] = (units[1] + cost[1]) * interval[1]
  dirty[index[1]] = true
  return p, 1
end

function op.o(p)
  p = read_limits(p, 1) -- the cost is what remains
  local reset = tonumber(ARGV[p])
  local a = (burst[1] - cost[1]) * interval[1]
  if reset > 0 then
    a = a - interval[1] + reset
  end
  if a <= ahead[index[1]] then
    return p + 1, 0
  end
  ahead[index[1]] = a
  dirty[index[1]] = true
  return p + 1, 1
end

function op.z(p)
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
  if not captured and (name == 'a' or name == 'm' or name == 'r') then
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
    local ms = ahead[i]
    if hold[i] and hold[i] > ms then
      ms = hold[i]
    end
    ms = ceil(ms * 1000)
    if ms < 1 then
      ms = 1
    end
    local text
    if given[i] > 0 then
      local ttl = redis.call('PTTL', KEYS[i])
      if ttl > ms then
        ms = ttl
      end
      text = format('%.8f%015.0f', now + ahead[i], given[i])
    else
      text = format('%.17g', now + ahead[i])
    end
    redis.call('SET', KEYS[i], text, 'PX', format('%.0f', ms))
  end
end
return reply
