-- Part of the pool's script: counters. A counter is a GCRA limit, with a theoretical arrival time, or a count that
-- starts anew at a given time.

local SLOWEST = 0.05 -- of a limit's pace
local DAY = 86400
local LARGEST = 0.25 -- of a limit, that a burst grows to

-- pace returns the pace of a counter now, as a share of the whole, and when it last became slower.
local function pace(name)
  local value, at, recovery = string.match(field['f' .. string.sub(name, 2)] or '', '^(%S+) (%S+) (%S+)$')
  if not value then
    return 1, 0
  end
  at = tonumber(at)
  return math.min(1, tonumber(value) + (now - at) / tonumber(recovery)), at
end

-- own_limit gives a counter a limit of its own, for one that isn't as the shape says: slower, or with another burst.
local function own_limit(c)
  local l = c.limit
  if not l.own then
    c.limit = {
      own = true, index = l.index, metric = l.metric, interval = l.interval, burst = l.burst, limit = l.limit,
      needed = 0, -- when the burst was last
      memory = math.max(60, 10 * l.limit * l.interval), -- for how long it is remembered
    }
  end
  return c.limit
end

-- set_burst gives a window another burst, and the interval that goes with it (see Limit.pace): (W+J)/(N-B+1).
local function set_burst(limit, burst)
  local n = limit.limit
  limit.interval = limit.interval * (n - limit.burst + 1) / (n - burst + 1)
  limit.burst = burst
end

-- read_burst gives a counter the burst that it has grown to.
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
    if ends <= now then -- the process's clock is late, or the call was under way for long
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
  -- Nothing is booked further ahead than this. Whatever says so was written when Redis' clock was ahead.
  if c.tat > now + horizon then
    c.tat = math.min(c.tat, now + horizon + 2 * limit.limit * limit.interval)
  end
  return c
end

local counters = {} -- by name, as far as they have been needed

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

-- counter_times returns when a call of some cost could be booked, as if it cost one unit, and its slot: both 0 at
-- least. Nothing is booked on a count before it has started anew.
local function counter_times(c, units)
  local l = c.limit
  if c.used then
    local at = c.used + units > l.burst and c.ends + horizon or 0
    return at, at
  end
  local tat, interval, burst = c.tat, l.interval, l.burst
  return gcra_send_at(tat, 0, interval, burst, 1), gcra_send_at(tat, 0, interval, burst, units)
end

-- counter_room returns how many times units fit now: the whole ones of that.
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

-- may_grow tells whether the burst of a limit's counters grows for a call of some cost.
local function may_grow(limit, units)
  return limit.grows and limit.ends == 0 and units > limit.burst and units <= limit.limit * LARGEST
end

-- counter_grow lets a counter's burst grow to what a call costs, since a call that costs more than the burst takes
-- about twice its cost of the limit. In a window in which the burst grows from B to C, C-B units more than the limit
-- could be admitted; so they are charged, unless the counter was idle for as long. A burst that isn't needed for a
-- while is forgotten, which is safe at any time.
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
