-- Part of the pool's script: what this process reports: the permits that it holds, and what it learned of blocks and
-- counters.
--
-- Expects pool.lua (accounts, limits, ran, now), pool_counter.lua and pool_block.lua; reads their part of ARGV.
-- Leaves held_here, the permits of this session; settled, whether it reported a settlement; account.samples.

local held_here = 0
if concurrency > 0 then
  for i = 1, #accounts do
    local held = num()
    accounts[i].held, accounts[i].taken = held, held
    held_here = held_here + held
  end
end

local reports, settled = num(), false
if reports > 0 then -- most calls have none, and making the functions has a cost

  -- block starts a cooldown, or disables. The later end wins, and a cooldown doesn't replace a block that disables.
  local function block(kind, name, till, reason)
    local old, was_disabled, _, trial = read_block(name)
    was_disabled = was_disabled or trial
    if till > now and (till > old or (kind == 'off' and not was_disabled)) then
      write_block(name, math.max(till, old), was_disabled and 'off' or kind, reason)
    end
  end

  -- clear ends a block that disables. A cooldown ends at its own time.
  local function clear(name)
    if string.find(field[name] or '', ' off ', 1, true) then
      drop(name)
    end
  end

  -- settle corrects a charge. A refund leaves at most the whole burst.
  local function settle(c, units)
    if c.used then
      c.used = math.max(0, c.used + units)
    else
      c.tat = math.max(c.tat, now) + units * c.limit.interval
    end
    counter_changed(c)
  end

  -- hold delays the next unit of a counter by some seconds.
  local function hold(c, seconds)
    if not c.used then
      c.tat = math.max(c.tat, now + seconds + (c.limit.burst - 1) * c.limit.interval)
      counter_changed(c)
    end
  end

  local function used(c, units)
    if c.used then
      c.used = math.max(c.used, units)
      counter_changed(c)
    end
  end

  -- booked restores a counter that Redis has lost.
  local function booked(c, seconds)
    if not c.used then
      c.tat = math.max(c.tat, now + seconds)
      counter_changed(c)
    end
  end

  local function slow(c, factor, recovery, quiet)
    local value, at = pace(c.name)
    if c.used or now - at < quiet then
      return
    end
    local slower = math.max(SLOWEST, value * factor)
    put('f' .. string.sub(c.name, 2), string.format('%.17g %.17g %.17g', slower, now, recovery), now + recovery)
    local limit = own_limit(c)
    limit.interval = limit.interval * value / slower
  end

  local on_counter = { settle = settle, hold = hold, used = used, booked = booked, slow = slow }

  local counts = true
  for _ = 1, reports do
    local kind = arg()
    settled = settled or kind == 'settle'
    if kind == 'unless' then
      local reported_by = num()
      counts = reported_by == 0 or ran < reported_by
    elseif kind == 'clear' then
      local name = arg()
      if counts then
        clear(name)
      end
    elseif kind == 'cool' or kind == 'off' then
      local name, seconds, reason = arg(), num(), arg()
      if counts then
        block(kind, name, now + seconds, reason)
      end
    elseif kind == 'adapt' then
      local account = accounts[num()]
      local samples = { ok = num(), dropped = num(), total = num(), peak = num(), first = num() }
      if counts then
        account.samples = samples
      end
    else
      local limit, owner, a, b, c = limits[num()], arg(), num()
      if kind == 'slow' then
        b, c = num(), num()
      end
      if counts then
        on_counter[kind](counter(limit, owner), a, b, c)
      end
    end
  end
end
