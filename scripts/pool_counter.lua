-- Part of the pool's script: counters. A counter is a GCRA limit, with a theoretical arrival time, or a count that
-- starts anew at a given time.

local SLOWEST = 0.05 -- of a limit's pace
local DAY = 86400
local LARGEST = 0.25 -- of a limit, that a burst grows to

-- pace returns a counter's pace now, as a share of the whole, and when it last became slower.
local function pace(c)
  local value, at, recovery = string.match(field['f:' .. c.name] or '', '^(%S+) (%S+) (%S+)$')
  if not value then
    return 1, 0
  end
  at = tonumber(at)
  return math.min(1, tonumber(value) + (now - at) / tonumber(recovery)), at
end

-- set_burst gives a window another burst, and the interval that goes with it (see Limit.pace): (W+J)/(N-B+1).
local function set_burst(c, burst)
  c.interval = c.interval * (c.limit - c.burst + 1) / (c.limit - burst + 1)
  c.burst = burst
end

for _, c in ipairs(counters) do
  local value = field['t:' .. c.name]
  if c.ends == 0 then
    c.memory = math.max(60, 10 * c.limit * c.interval)
    c.interval = c.interval / pace(c)
    local burst, needed = string.match(field['b:' .. c.name] or '', '^(%S+) (%S+)$')
    c.least, c.needed = c.burst, 0
    if burst and now - tonumber(needed) < c.memory then
      c.needed = tonumber(needed)
      set_burst(c, math.max(c.burst, tonumber(burst)))
    elseif burst then
      drop('b:' .. c.name)
    end
    -- Nothing is booked further ahead than this. Whatever says so was written when Redis' clock was ahead.
    c.tat = math.min(tonumber(value or '0'), now + horizon + 2 * c.limit * c.interval)
  else
    local ends, used = string.match(value or '0 0', '^(%S+) (%S+)$')
    ends, used = tonumber(ends), tonumber(used)
    if ends <= now then
      ends, used = c.ends, 0
      if ends <= now then -- the process's clock is late, or the call was under way for long
        ends = ends + (math.floor((now - ends) / DAY) + 1) * DAY
      end
    end
    c.ends, c.used = ends, used
  end
end

-- counter_slot returns the earliest time, not before from, at which units fit.
local function counter_slot(c, from, units)
  if c.used then
    if c.used + units > c.burst then
      return math.max(from, c.ends + horizon) -- nothing is booked before the count has started anew
    end
    return from
  end
  return gcra_slot(c.tat, from, c.interval, c.burst, units)
end

-- counter_room returns how many times units fit now.
local function counter_room(c, units)
  if c.used then
    return math.floor((c.burst - c.used) / units)
  end
  return math.floor((now + c.burst * c.interval - math.max(c.tat, now)) / (units * c.interval))
end

-- counter_grow lets a counter's burst grow to what a call costs, since a call that costs more than the burst takes
-- about twice its cost of the limit. In a window in which the burst grows from B to C, C-B units more than the limit
-- could be admitted; so they are charged, unless the counter was idle for as long. A burst that isn't needed for a
-- while is forgotten, which is safe at any time.
local function counter_grow(c, units)
  if not c.grows or c.used or units <= c.least or units > c.limit * LARGEST then
    return
  end
  if units > c.burst then
    local more = units - c.burst
    set_burst(c, units)
    more = more * c.interval
    c.tat = math.max(c.tat, now - more) + more
    c.charged = true
  elseif now - c.needed < c.memory / 10 then
    return
  end
  c.needed = now
  put('b:' .. c.name, string.format('%.0f %.17g', c.burst, now), now + c.memory)
end

local function counter_charge(c, slot, units)
  if c.used then
    c.used = c.used + units
  else
    c.tat = gcra_charge(c.tat, slot, c.interval, units)
  end
  c.charged = true
end

-- counter_settle corrects what was charged. A refund never gives more than the whole burst.
local function counter_settle(c, units)
  if c.used then
    c.used = math.max(0, c.used + units)
  else
    c.tat = math.max(c.tat, now) + units * c.interval
  end
  c.charged = true
end

-- counter_hold keeps the next unit off for some seconds.
local function counter_hold(c, seconds)
  if not c.used then
    c.tat = math.max(c.tat, now + seconds + (c.burst - 1) * c.interval)
    c.charged = true
  end
end

local function counter_used(c, units)
  if c.used then
    c.used = math.max(c.used, units)
    c.charged = true
  end
end

local function counter_slow(c, factor, recovery, quiet)
  local value, at = pace(c)
  if c.used or now - at < quiet then
    return
  end
  local slower = math.max(SLOWEST, value * factor)
  put('f:' .. c.name, string.format('%.17g %.17g %.17g', slower, now, recovery), now + recovery)
  c.interval = c.interval * value / slower
end

local function counter_write(c)
  if c.used then
    put('t:' .. c.name, string.format('%.17g %.0f', c.ends, c.used), c.ends)
  else
    put('t:' .. c.name, string.format('%.17g', c.tat), c.tat)
  end
end
