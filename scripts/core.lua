-- Shared functions of the scripts: time, and the arithmetic of a GCRA limit.
--
-- A time is in seconds since 2017-01-01T00:00:00Z, as in redis_rate's state. A double then has a resolution of a tenth of a
-- microsecond.
--
-- Expects nothing. Leaves EPOCH, server_now, gcra_send_at and gcra_charge.

local EPOCH = 1483228800

-- Redis before 7 replicates a script that reads TIME only if it replicates effects. Later servers always do, and some
-- compatible servers don't have the call.
if redis.replicate_commands then
  redis.replicate_commands()
end

-- server_now returns Redis' time. override is a test's time as text; empty: Redis' own.
local function server_now(override)
  if override ~= '' then
    return tonumber(override)
  end
  local t = redis.call('TIME')
  return tonumber(t[1]) - EPOCH + tonumber(t[2]) / 1000000
end

-- gcra_send_at returns the earliest time, not before now, at which cost units conform to a limit of one unit per interval
-- with a burst. tat is the limit's theoretical arrival time.
--
-- A cost above the burst conforms after the limit has been idle for the excess. A caller that must never admit such a cost
-- checks that first.
local function gcra_send_at(tat, now, interval, burst, cost)
  local send_at = tat + (cost - burst) * interval
  if send_at < now then
    return now
  end
  return send_at
end

-- gcra_charge returns the theoretical arrival time after a charge of cost units at send_at.
local function gcra_charge(tat, send_at, interval, cost)
  if tat < send_at then
    tat = send_at
  end
  return tat + cost * interval
end
