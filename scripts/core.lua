-- Functions that several scripts share. Times are seconds since 2017-01-01T00:00:00Z, as in redis_rate's state, so
-- that a double keeps a tenth of a microsecond.

local EPOCH = 1483228800

-- Redis before 7 replicates a script that reads TIME only by its effects; later servers do so anyway, and some
-- compatible ones no longer have the call.
if redis.replicate_commands then
  redis.replicate_commands()
end

-- server_now returns Redis' time. override, for tests, is that time as text; empty text: ask Redis.
local function server_now(override)
  if override ~= '' then
    return tonumber(override)
  end
  local t = redis.call('TIME')
  return tonumber(t[1]) - EPOCH + tonumber(t[2]) / 1000000
end

-- gcra_send_at returns the earliest time, not before now, at which cost units conform to a limit of one unit per
-- interval with the given burst, where tat is the limit's theoretical arrival time.
--
-- A cost above the burst conforms once the limit has been idle for the excess. Whoever must never admit such a cost
-- refuses it before asking.
local function gcra_send_at(tat, now, interval, burst, cost)
  local send_at = tat + (cost - burst) * interval
  if send_at < now then
    return now
  end
  return send_at
end

-- gcra_charge returns the theoretical arrival time after cost units at the time send_at.
local function gcra_charge(tat, send_at, interval, cost)
  if tat < send_at then
    tat = send_at
  end
  return tat + cost * interval
end
