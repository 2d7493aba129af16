-- Rate limits (GCRA): many operations on many limits in one call. Each has the result that it would have alone, in order.
--
-- KEYS  one string per limit: its theoretical arrival time (TAT) as decimal text, seconds since 2017. Text of 25
--       characters or more ends in 15 digits that lie beyond a double's resolution: the total that was ever given back, in
--       microseconds modulo 10^15 (see below). Shorter text, as redis_rate writes it, stands for 0.
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
--       o  limit, remaining, seconds                   the provider's report: that many more units for that long
--       s  number of a key, seconds, TAT, given back   Redis' clock was set back by that many seconds since the client
--                                                      saw that state: lowers the TAT by as much, once for all clients
--       z  number of a key, seconds                    resets; for that long clients may still hold the state before
-- Reply {now in microseconds, then per key: TAT-now in nanoseconds (0 at least) and what was given back, both
--       before the first a, m or r; a key that was absent although the client knew a later state has -1-(TAT-now);
--       then per operation: a, r without waits: calls admitted, the first ones;
--       m: units admitted; r with waits: a bit per call, 32 in a number, lowest first; g: microseconds given back;
--       others: 1 if it had effect}.
--       Errors: LATE, the deadline has passed; WRONGTYPE, a key holds something else.
--
-- Given back: only g and z lower a TAT, and both count by how much. r counts what must not be given back any more. Of two
-- states of a limit, the later is the one that has given back more, or else the one with the later TAT. So a Redis that
-- lost writes takes the clients' later states, and the script knows how much of a charge was given back by other
-- operations.
--
-- Expects core.lua. Leaves now, now_us, load, store, in_units, FOREIGN.

local floor, ceil, format = math.floor, math.ceil, string.format
local GRAIN = 1.5e-7 -- twice the step of a double that holds a TAT, and a bit: times closer than this are equal
local TURN = 1e15    -- "given back" counts modulo this
local FARTHEST = 9e9 -- seconds: no TAT is further ahead, so that the reply's nanoseconds fit into 64 bits

-- parse_state returns the TAT and the amount given back that text holds, or nothing.
local function parse_state(text)
  local tat = tonumber(text)
  if not tat or tat - tat ~= 0 then
    return nil
  end
  if #text < 25 then
    return tat, 0
  end
  local back = tonumber(string.sub(text, -15))
  if not back then
    return nil
  end
  return tat, back
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

-- load returns of a key: TAT-now in seconds, not below 0; the amount given back; whether the client knew a later state,
-- which must be written; whether the key is absent. It returns nothing for a key that holds something else.
local function load(key, known)
  local text = redis.call('GET', key)
  local tat, back, restored = now, 0, false
  if text then
    tat, back = parse_state(text)
    if not tat then
      return nil
    end
  end
  if known ~= '' and known ~= text then
    local later, later_back = parse_state(known)
    local newer = (later_back - back) % TURN
    if later > now and newer < TURN / 2 and (later > tat or newer > 0) then
      if later > tat then
        tat = later
      end
      back, restored = later_back, true
    end
  end
  if tat < now then
    return 0, back, restored, not text
  end
  local ahead = tat - now
  if ahead > FARTHEST then
    ahead = FARTHEST
  end
  return ahead, back, restored, not text
end

-- store writes a key that is kept for some seconds.
local function store(key, ahead, back, seconds)
  local ms = ceil(seconds * 1000)
  if ms < 1 then
    ms = 1
  end
  if back == 0 then
    redis.call('SET', key, format('%.17g', now + ahead), 'PX', format('%.0f', ms))
    return
  end
  local ttl = redis.call('PTTL', key)
  if ttl > ms then
    ms = ttl
  end
  redis.call('SET', key, format('%.8f%015.0f', now + ahead, back), 'PX', format('%.0f', ms))
end

local FOREIGN = 'WRONGTYPE Key holds text that is not the state of a rate limit'
