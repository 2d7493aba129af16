-- The adaptive limit, as pure functions over Lua tables: nothing here asks Redis. Times are microseconds.
--
-- Additive increase, multiplicative decrease: successes raise the limit by one for as many as it has permits, an
-- overload lowers it by a factor, once for all the calls that were under way. The gradient (after Netflix's
-- concurrency-limits, Gradient2) also lowers it as latency rises above a baseline, before anything is refused.

-- A baseline may rise to DRIFT_CAP times the lowest latency, which itself is forgotten at this rate: it doubles in
-- DRIFT_TIME. Without that, a baseline that follows the latency of a long overload would call it normal.
local DRIFT_CAP, DRIFT_TIME = 1.25, 21600000000

-- read_adaptive returns the state in text, or nil.
local function read_adaptive(text)
  if not text then
    return nil
  end
  local a = {}
  a.limit, a.cut, a.since, a.ok, a.total, a.base, a.lowest, a.latency =
    string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  for k, v in pairs(a) do
    a[k] = tonumber(v)
  end
  return a
end

local function write_adaptive(a)
  return string.format('%.17g %.0f %.0f %.0f %.0f %.17g %.17g %.17g', a.limit, a.cut, a.since, a.ok, a.total, a.base,
    a.lowest, a.latency)
end

-- passed returns whether so much time has passed since a moment, or the clock was set back.
local function passed(now, since, time)
  return now < since or now - since >= time
end

-- follow_latency moves the limit by one window's mean latency.
local function follow_latency(a, p, latency, window)
  if a.base == 0 then
    a.base, a.lowest = latency, latency
  end
  a.base = a.base + (latency - a.base) * 2 / 601 -- the mean of 600 windows, exponentially
  if a.base > 2 * latency then
    a.base = a.base * 0.95
  end
  a.lowest = math.min(latency, a.lowest * (1 + math.min(window, DRIFT_TIME) / DRIFT_TIME))
  if a.limit <= 2 * p.queue then
    a.lowest = latency -- so few calls don't make a queue: this is the latency now
  end
  a.base = math.min(a.base, a.lowest * DRIFT_CAP)
  local gradient = math.max(0.5, math.min(1, p.tolerance * a.base / latency))
  a.limit = a.limit * (1 - p.smoothing) + (a.limit * gradient + p.queue) * p.smoothing
end

-- adapt returns the state after the calls that a report tells of: ok successes that took total together, and dropped
-- that met an overload. used is how many permits were in use, most the configured limit.
local function adapt(a, p, ok, dropped, total, used, most, now)
  if not a then
    a = { limit = p.initial, cut = 0, since = now, ok = 0, total = 0, base = 0, lowest = 0, latency = 0 }
  end
  local busy = used * 2 >= a.limit
  if dropped > 0 then
    if passed(now, a.cut, math.max(p.every, a.latency)) then
      a.limit, a.cut, a.since, a.ok, a.total = a.limit * p.backoff, now, now, 0, 0
    end
  elseif ok > 0 then
    if busy and not p.gradient then
      a.limit = a.limit + ok / a.limit
    end
    a.ok, a.total = a.ok + ok, a.total + total
    if passed(now, a.since, p.every) then
      a.latency = math.max(1, a.total / a.ok)
      if busy and p.gradient then
        follow_latency(a, p, a.latency, math.max(now - a.since, 0))
      end
      a.since, a.ok, a.total = now, 0, 0
    end
  end
  a.limit = math.max(math.min(p.min, most), math.min(a.limit, most))
  return a
end
