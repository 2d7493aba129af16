-- The adaptive limit. Pure functions over Lua tables, without a call of Redis. Times are microseconds.
--
-- Additive increase, multiplicative decrease: as many successes as the limit has permits raise it by one. An overload
-- multiplies it by a factor, once for all calls that were in flight. The gradient (Netflix concurrency-limits, Gradient2)
-- also lowers it when latency rises above a baseline, before the provider refuses anything.
--
-- Expects nothing. Leaves read_adaptive, write_adaptive and adapt.

-- The baseline is at most DRIFT_CAP times the lowest latency. The lowest latency doubles in DRIFT_TIME unless it is
-- measured again. Without this cap, the baseline would follow the latency of a long overload.
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

-- passed returns whether time has passed since a moment, or the clock was set back.
local function passed(now, since, time)
  return now < since or now - since >= time
end

-- follow_latency moves the limit by the mean latency of one window.
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

-- adapt returns the state after the calls of one report.
--
--   p        parameters: gradient, min, initial, backoff, every, tolerance, smoothing, queue
--   ok       successes; total: their latencies' sum
--   dropped  overloads
--   used     permits in use
--   most     the configured limit
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
