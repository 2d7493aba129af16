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

-- gcra_slot returns the earliest time, not before now, at which cost units conform to a limit of one unit per
-- interval with the given burst, where tat is the limit's theoretical arrival time.
--
-- A cost above the burst conforms once the limit has been idle for the excess. Whoever must never admit such a cost
-- refuses it before asking.
local function gcra_slot(tat, now, interval, burst, cost)
  local slot = tat + (cost - burst) * interval
  if slot < now then
    return now
  end
  return slot
end

-- gcra_charge returns the theoretical arrival time after cost units at the time slot.
local function gcra_charge(tat, slot, interval, cost)
  if tat < slot then
    tat = slot
  end
  return tat + cost * interval
end
