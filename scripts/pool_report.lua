-- Part of the pool's script: what the process reports.
--
-- Expects pool_block.lua and pool_limits.lua. Leaves refused, how many reports can't be true; account.samples of the 'adapt' reports.
-- Counters and blocks are as reported from here on.

local report = {
  refused = 0, FIRST_SHARE = 0
}

report.refused = 0
report.FIRST_SHARE = 0.1
local reports = num()
if reports > 0 then -- most calls have none, and don't need the functions either

  -- block keeps something out of use. The later time wins, and a cooldown doesn't replace what is disabled.
  local function block(kind, name, till, reason)
    local old, was_disabled, _, trial = blocking.read_block(name)
    was_disabled = was_disabled or trial
    if till > state.now and (till > old or (kind == 'off' and not was_disabled)) then
      blocking.write_block(name, math.max(till, old), was_disabled and 'off' or kind, reason)
    end
  end

  -- clear ends that something is disabled. A cooldown ends by itself.
  local function clear(name)
    local _, disabled, _, trial = blocking.read_block(name)
    if disabled or trial then
      hash.drop(name)
    end
    local other = blocking.tested(name)
    if other then
      hash.drop(other)
    end
  end

  -- calm forgets a cooldown that is over.
  local function calm(name)
    local till, _, _, _, kind = blocking.read_block(name)
    if till == 0 and kind == 'cool' then
      hash.drop(name)
    end
  end

  -- settle corrects a charge. A refund counts only while the charge counts at the provider: for a period, or the same day.
  local function settle(c, units, charged_at)
    local l = c.limit
    if units > 2 * l.limit or units < -2 * l.limit then
      report.refused = report.refused + 1
      return
    end
    if c.used then
      if units > 0 or charged_at == 0 or charged_at >= c.ends - counting.DAY then
        c.used = math.max(0, c.used + units)
        counting.counter_changed(c)
      end
    elseif units > 0 or charged_at == 0 or call.wall - charged_at < l.period then
      local latest = math.max(c.tat, state.now + call.horizon + l.limit * l.interval)
      c.tat = math.min(latest, math.max(c.tat, state.now) + units * l.interval)
      counting.counter_changed(c)
    end
  end

  -- hold keeps the next unit of a counter back for some seconds.
  local function hold_back(c, seconds)
    if not c.used then
      c.tat = math.max(c.tat, state.now + seconds + (c.limit.burst - 1) * c.limit.interval)
      counting.counter_changed(c)
    end
  end

  local function used(c, units)
    if c.used then
      c.used = math.max(c.used, units)
      counting.counter_changed(c)
    end
  end

  -- booked restores a counter that Redis has lost.
  local function booked(c, seconds)
    if not c.used then
      c.tat = math.max(c.tat, state.now + seconds)
      counting.counter_changed(c)
    end
  end

  local function slow(c, factor, recovery, quiet)
    local share, since = counting.share_now(c)
    if c.used or state.now - since < quiet then
      return
    end
    local slower = math.max(counting.SLOWEST, share * factor)
    local limit = counting.own_limit(c)
    limit.interval = limit.interval * share / slower
    c.more.share, c.more.since, c.more.recovery = slower, state.now, recovery
    counting.counter_changed(c)
  end

  -- ramp lets all limits run at a share of their rates that grows from a tenth to the whole within some seconds of the
  -- pool's first start. A loss of state makes another generation, and ends it.
  local function ramp(seconds)
    local age = math.max(0, state.now - state.origin / 1000000)
    if state.generation ~= state.origin or age >= seconds or targets.share < 1 then
      return
    end
    targets.share = report.FIRST_SHARE + (1 - report.FIRST_SHARE) * age / seconds
    for i = 1, #limits do
      targets.ramped(limits[i])
    end
    for i = 1, #groups do
      local its = groups[i]
      for k = 1, #its.candidates do
        for n, l in ipairs(its.candidates[k].limits) do
          if l ~= its.limits[n] and l.scope and not l.was_ramped then
            l.was_ramped = true -- a target may be a candidate twice
            targets.ramped(l)
          end
        end
      end
    end
  end

  local on_counter = { settle = settle, hold = hold_back, used = used, booked = booked, slow = slow }

  local counts = true
  for _ = 1, reports do
    local kind = arg()
    if kind == 'limits' then -- see pool_limits.lua
      argi = argi + 2
    elseif kind == 'unless' then
      local reported_by = num()
      counts = reported_by == 0 or state.ran < reported_by
    elseif kind == 'ramp' then
      ramp(num())
    elseif kind == 'clear' then
      local name = arg()
      if counts then
        clear(name)
      end
    elseif kind == 'calm' then
      local name = arg()
      if counts then
        calm(name)
      end
    elseif kind == 'grow' then
      local its_kind, name, seconds, factor, most, reason = arg(), arg(), num(), num(), num(), arg()
      if counts then
        blocking.grow_block(name, its_kind, seconds, factor, most, reason)
      end
    elseif kind == 'cool' or kind == 'off' then
      local name, seconds, reason = arg(), num(), arg()
      if counts then
        block(kind, name, state.now + seconds, reason)
      end
    elseif kind == 'adapt' then
      local account = targets.account_of(arg(), num())
      local samples = { ok = num(), dropped = num(), total = num(), peak = num(), first = num() }
      if counts then
        account.samples = samples
      end
    else
      local l, owner, a, b, c = limits[num()], arg(), num()
      if kind == 'slow' then
        b, c = num(), num()
      elseif kind == 'settle' then
        b = num()
      end
      if counts then
        on_counter[kind](counting.counter_at(l, l.head .. owner .. l.tail), a, b, c)
      end
    end
  end
end
