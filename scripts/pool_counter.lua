-- Part of the pool's script: counters. A counter is a GCRA limit, with a theoretical arrival time (TAT), or a count
-- that starts anew at a given time.
--
-- Field t:COUNTER of a GCRA limit: its TAT. If its burst has grown or its rate is lowered, five numbers more: burst
-- (0: as configured), until when that is kept; share of the rate (1: whole), when it was lowered, seconds from 0 to
-- the whole rate. Of a count: 'c', its end (Redis' time), units used.
--
-- Expects pool_session.lua. Leaves counter_at and the functions on a counter c; charged, the counters to be written.

local counting = {
  SLOWEST = 0, DAY = 0, LARGEST = 0, counters = 0, unlimited = 0, counter_at = 0, counter_times = 0, counter_room = 0, charged = 0, n_charged = 0, counter_changed = 0,
  counter_charge = 0, may_grow = 0,
}

-- Counts, and limits that are not as they are configured.
lazily(counting, function()
  -- share_now returns the share of the rate that a counter runs at, and when it was last lowered.
  function counting.share_now(c)
    local more = c.more
    if not more then
      return 1, 0
    end
    return math.min(1, more.share + (state.now - more.since) / more.recovery), more.since
  end

  -- own_limit gives a counter a limit of its own: one that is slower than configured, or has another burst.
  function counting.own_limit(c)
    local l = c.limit
    if not l.own then
      c.limit = {
        own = true, index = l.index, metric = l.metric, interval = l.interval, burst = l.burst, limit = l.limit,
        period = l.period, memory = math.max(60, 10 * l.limit * l.interval), -- for how long a grown burst is kept
      }
      c.more = c.more or { burst = 0, burst_until = 0, share = 1, since = 0, recovery = 1 }
    end
    return c.limit
  end

  -- set_burst gives a limit another burst, and the interval that goes with it: (W+J)/(N-B+1).
  function counting.set_burst(limit, burst)
    local n = limit.limit
    limit.interval = limit.interval * (n - limit.burst + 1) / (n - burst + 1)
    limit.burst = burst
  end

  function counting.read_count(c, text)
    local ends, used = 0, 0
    if text then
      ends, used = hash.numbers(string.match(text, '^c (%S+) (%S+)$'))
      if not used then
        hash.broken(c.name)
        ends, used = 0, 0
      end
    end
    if ends <= call.wall then
      ends, used = c.limit.ends, 0
      if ends <= call.wall then -- the process's clock is late, or the call was under way for long
        ends = ends + (math.floor((call.wall - ends) / counting.DAY) + 1) * counting.DAY
      end
    end
    c.ends, c.used = ends, used
  end

  -- read_more reads a counter whose limit isn't as it is configured.
  function counting.read_more(c, text)
    local tat, burst, burst_until, share, since, recovery =
      hash.numbers(string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'))
    if not recovery or recovery <= 0 or burst < 0 or share <= 0 then
      hash.broken(c.name)
      return
    end
    c.tat, c.more = tat, { burst = burst, burst_until = burst_until, share = share, since = since, recovery = recovery }
    local l = counting.own_limit(c)
    l.interval = l.interval / counting.share_now(c)
    if burst > 0 and burst_until > state.now then
      counting.set_burst(l, math.max(l.burst, burst))
    else
      c.more.burst, c.more.burst_until = 0, 0
    end
  end

  -- counter_grow lets a counter's burst grow to what a call costs, because a call that costs more than the burst takes
  -- about twice its cost of the limit. In a window in which the burst grows from B to C, C-B units more than the limit
  -- could be admitted; so they are charged, unless the counter was idle for as long. A burst that isn't needed for a
  -- while is dropped, which is safe at any time.
  function counting.counter_grow(c, units)
    local l = counting.own_limit(c)
    if units > l.burst then
      local extra = units - l.burst
      counting.set_burst(l, units)
      extra = extra * l.interval
      c.tat = math.max(c.tat, state.now - extra) + extra
    elseif c.more.burst_until - state.now > l.memory * 0.9 then
      return
    end
    c.more.burst, c.more.burst_until = l.burst, state.now + l.memory
    counting.counter_changed(c)
  end
end)

counting.SLOWEST = 0.05 -- of a limit's rate
counting.DAY = 86400
counting.LARGEST = 0.25 -- of a limit, that a burst grows to

counting.counters = {} -- by field

-- unlimited stands for a limit that a target doesn't have: a count that never ends.
counting.unlimited = {
  limit = { index = call.NONE, metric = 0, interval = 0, burst = 2 ^ 50, limit = 2 ^ 50, grows = false, ends = 0, period = 0 },
  name = '', tat = 0, used = 0, ends = 0, more = false, charged = true,
}

-- counter_at returns the counter of a limit whose field has a name.
function counting.counter_at(limit, name)
  local c = counting.counters[name]
  if c then
    return c
  end
  local text = hash.get(name)
  c = { limit = limit, name = name, tat = 0, used = false, ends = false, more = false, charged = false }
  counting.counters[name] = c
  if limit.ends > 0 then
    counting.read_count(c, text)
    return c
  end
  if text then
    local tat = tonumber(text)
    if tat and tat - tat == 0 then
      c.tat = tat
    else
      counting.read_more(c, text)
    end
  end
  limit = c.limit
  -- Nothing is booked further ahead than this.
  if c.tat > state.now + call.horizon then
    c.tat = math.min(c.tat, state.now + call.horizon + 2 * limit.limit * limit.interval)
  end
  return c
end

-- counter_times returns when a call of some cost could be booked, as if it cost one unit, and its send time: both 0 at
-- least. Nothing is booked on a count before it has started anew.
function counting.counter_times(c, units)
  local l = c.limit
  if c.used then
    local at = c.used + units > l.burst and c.ends + state.offset + call.horizon or 0
    return at, at
  end
  local tat, interval, burst = c.tat, l.interval, l.burst
  return gcra_send_at(tat, 0, interval, burst, 1), gcra_send_at(tat, 0, interval, burst, units)
end

-- counter_room returns how many times units fit now: the integer part of that counts.
function counting.counter_room(c, units)
  local l, from = c.limit, c.tat
  if c.used then
    return (l.burst - c.used) / units
  elseif from < state.now then
    from = state.now
  end
  return (state.now + l.burst * l.interval - from) / (units * l.interval)
end

counting.charged, counting.n_charged = {}, 0
function counting.counter_changed(c)
  if not c.charged then
    c.charged = true
    counting.n_charged = counting.n_charged + 1
    counting.charged[counting.n_charged] = c
  end
end

function counting.counter_charge(c, send_at, units)
  if c.used then
    c.used = c.used + units
  else
    local tat = c.tat
    if tat < send_at then
      tat = send_at
    end
    c.tat = tat + units * c.limit.interval
  end
  if not c.charged then
    counting.counter_changed(c)
  end
end

-- may_grow returns whether the burst of a limit's counters grows for a call of some cost.
function counting.may_grow(limit, units)
  return limit.grows and limit.ends == 0 and units > limit.burst and units <= limit.limit * counting.LARGEST
end

local function counter_write(c)
  local more = c.more
  if c.used then
    hash.put(c.name, string.format('c %.17g %.0f', c.ends, c.used), c.ends + state.offset)
  elseif more and (more.burst > 0 or counting.share_now(c) < 1) then
    local until_needed = math.max(c.tat + c.limit.limit * c.limit.interval, more.burst > 0 and more.burst_until or 0,
      more.since + more.recovery)
    hash.put(c.name, string.format('%.17g %.0f %.17g %.17g %.17g %.17g', c.tat, more.burst, more.burst_until,
      more.share, more.since,
      more.recovery), until_needed)
  else
    hash.put(c.name, string.format('%.17g', c.tat), c.tat + c.limit.limit * c.limit.interval)
  end
end
