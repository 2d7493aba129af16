-- Part of the pool's script: counters. A counter is a GCRA limit with a theoretical arrival time, or a daily count that
-- starts anew at a given time.
--
-- Expects core.lua and pool.lua: now, horizon, field, paced, grown, put, drop.
-- Leaves counter, counter_times, counter_room, counter_charge, counter_changed, counter_grow, counter_write, may_grow,
-- own_limit, pace, and charged, the counters to write.

local SLOWEST = 0.05 -- least share of its rate that a limit is slowed to
local DAY = 86400 -- seconds
local LARGEST = 0.25 -- largest share of a limit that its burst grows to

-- pace returns the share of its rate that a counter runs at now, and when the counter was last slowed.
local function pace(name)
  local value, at, recovery = string.match(field['f' .. string.sub(name, 2)] or '', '^(%S+) (%S+) (%S+)$')
  if not value then
    return 1, 0
  end
  at = tonumber(at)
  return math.min(1, tonumber(value) + (now - at) / tonumber(recovery)), at
end

-- own_limit gives a counter a copy of its limit, for one that differs from the configuration: slowed, or with another burst.
local function own_limit(c)
  local l = c.limit
  if not l.own then
    c.limit = {
      own = true, index = l.index, metric = l.metric, interval = l.interval, burst = l.burst, limit = l.limit,
      needed = 0, -- when a call last needed the burst
      memory = math.max(60, 10 * l.limit * l.interval), -- seconds for which the burst is kept after that
    }
  end
  return c.limit
end

-- set_burst gives a window another burst, and the emission interval that belongs to it: (W+J)/(N-B+1).
local function set_burst(limit, burst)
  local n = limit.limit
  limit.interval = limit.interval * (n - limit.burst + 1) / (n - burst + 1)
  limit.burst = burst
end

-- read_burst gives a counter its grown burst.
local function read_burst(c)
  local name = 'b' .. string.sub(c.name, 2)
  local burst, needed = string.match(field[name] or '', '^(%S+) (%S+)$')
  if not burst then
    return
  end
  local l = own_limit(c)
  if now - tonumber(needed) < l.memory then
    l.needed = tonumber(needed)
    set_burst(l, math.max(l.burst, tonumber(burst)))
  else
    drop(name)
  end
end

local function read_count(limit, name)
  local ends, used = string.match(field[name] or '0 0', '^(%S+) (%S+)$')
  ends, used = tonumber(ends), tonumber(used)
  if ends <= now then
    ends, used = limit.ends, 0
    if ends <= now then -- the process's clock is late, or the call took long
      ends = ends + (math.floor((now - ends) / DAY) + 1) * DAY
    end
  end
  return { limit = limit, name = name, used = used, ends = ends }
end

local function read_limit(limit, name)
  local c = { limit = limit, name = name, tat = (field[name] or 0) + 0 }
  if paced and field['f' .. string.sub(name, 2)] then
    limit = own_limit(c)
    limit.interval = limit.interval / pace(name)
  end
  if grown then
    read_burst(c)
  end
  limit = c.limit
  -- No booking reaches further ahead than the horizon. A later time was written while Redis' clock was ahead.
  if c.tat > now + horizon then
    c.tat = math.min(c.tat, now + horizon + 2 * limit.limit * limit.interval)
  end
  return c
end

local counters = {} -- by name: those read so far

-- counter returns the counter of a limit for an account or key, or the pool if owner is empty.
local function counter(limit, owner)
  local name = limit.head .. owner .. limit.tail
  local c = counters[name]
  if not c then
    c = (limit.ends == 0 and read_limit or read_count)(limit, name)
    counters[name] = c
  end
  return c
end

-- counter_times returns from when a call may be booked, as if it cost one unit, and the send time for its cost; both at
-- least 0. A count that has no room admits calls only after it has started anew.
local function counter_times(c, units)
  local l = c.limit
  if c.used then
    local at = c.used + units > l.burst and c.ends + horizon or 0
    return at, at
  end
  local tat, interval, burst = c.tat, l.interval, l.burst
  return gcra_send_at(tat, 0, interval, burst, 1), gcra_send_at(tat, 0, interval, burst, units)
end

-- counter_room returns how many times a cost fits now, as a fraction. A negative number means that it doesn't fit.
local function counter_room(c, units)
  local l, from = c.limit, c.tat
  if c.used then
    return (l.burst - c.used) / units
  elseif from < now then
    from = now
  end
  return (now + l.burst * l.interval - from) / (units * l.interval)
end

local charged = {} -- counters
local function counter_changed(c)
  if not c.charged then
    c.charged = true
    charged[#charged + 1] = c
  end
end

local function counter_charge(c, send_at, units)
  if c.used then
    c.used = c.used + units
  else
    c.tat = gcra_charge(c.tat, send_at, c.limit.interval, units)
  end
  if not c.charged then
    counter_changed(c)
  end
end

-- may_grow reports whether the burst of a limit's counters grows for a call of this cost.
local function may_grow(limit, units)
  return limit.grows and limit.ends == 0 and units > limit.burst and units <= limit.limit * LARGEST
end

-- counter_grow raises a counter's burst to the cost of a call, because a call that costs more than the burst uses about
-- twice its cost of the limit. In a window in which the burst grows from B to C, up to C-B units more than the limit
-- could be admitted. So these units are charged, unless the counter was idle for as long. A burst that no call needs for
-- a while is dropped, which is safe at any time.
local function counter_grow(c, units)
  local l = own_limit(c)
  if units > l.burst then
    local more = units - l.burst
    set_burst(l, units)
    more = more * l.interval
    c.tat = math.max(c.tat, now - more) + more
    counter_changed(c)
  elseif now - l.needed < l.memory / 10 then
    return
  end
  l.needed = now
  put('b' .. string.sub(c.name, 2), string.format('%.0f %.17g', l.burst, now), now + l.memory)
end

local function counter_write(c)
  if c.used then
    put(c.name, string.format('%.17g %.0f', c.ends, c.used), c.ends)
  else
    put(c.name, string.format('%.17g', c.tat), c.tat)
  end
end
