-- Part of the pool's script: what this process reports, and what follows for permits.

local held_here = 0
if concurrency > 0 then
  for i = 1, #accounts do
    local held = num()
    accounts[i].held, accounts[i].taken = held, held
    held_here = held_here + held
  end
end

local reports, settled = num(), false
if reports > 0 then -- most calls have none, and don't need the functions either

  -- block keeps something out of use. The later deadline wins, and what is off isn't turned into what cools down.
  local function block(kind, name, till, reason)
    local old, was_off, _, trial = read_block(name)
    was_off = was_off or trial
    if till > now and (till > old or (kind == 'off' and not was_off)) then
      write_block(name, math.max(till, old), was_off and 'off' or kind, reason)
    end
  end

  -- clear takes back that something is off. What cools down does so by itself.
  local function clear(name)
    if string.find(field[name] or '', ' off ', 1, true) then
      drop(name)
    end
  end

  -- settle corrects what was charged. A refund never gives more than the whole burst.
  local function settle(c, units)
    if c.used then
      c.used = math.max(0, c.used + units)
    else
      c.tat = math.max(c.tat, now) + units * c.limit.interval
    end
    counter_changed(c)
  end

  -- hold keeps the next unit of a counter off for some seconds.
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

  local on_counter = { settle = settle, hold = hold, used = used, slow = slow }

  local counts = true
  for _ = 1, reports do
    local kind = arg()
    settled = settled or kind == 'settle'
    if kind == 'unless' then
      local told = num()
      counts = told == 0 or ran < told
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

-- Permits: what other sessions hold, and what is set aside for those that wait for some and hold less than a fair
-- share.
local function sum_held(held, each)
  local sum = 0
  for name, n in string.gmatch(held, '([^=,]+)=(%d+)') do
    n = tonumber(n)
    sum = sum + n
    if each then
      each(name, n)
    end
  end
  return sum
end

local by_name -- accounts
local function taken_by_another(name, n)
  if not by_name then
    by_name = {}
    for i = 1, #accounts do
      by_name[accounts[i].name] = accounts[i]
    end
  end
  if by_name[name] then
    by_name[name].taken = by_name[name].taken + n
  end
end

local contenders, starving, free, set_aside, fair_share = 1, {}, 0, 0, 0
if concurrency > 0 then
  for i = 1, #others do
    local other = others[i]
    if other.held ~= '' then
      other.sum = sum_held(other.held, taken_by_another)
    end
    if other.starved > 0 or other.sum > 0 then
      contenders = contenders + 1
    end
  end
  fair_share = math.ceil(concurrency * #accounts / contenders)
  for i = 1, #accounts do
    free = free + math.max(0, concurrency - accounts[i].taken)
  end
end
for i = 1, #others do
  local other = others[i]
  if other.starved > 0 and other.sum < fair_share then
    set_aside = set_aside + math.min(other.starved, fair_share - other.sum)
    starving[#starving + 1] = other
  end
end
-- how many permits came back, if that matters to anybody
local given_back = #starving > 0 and sum_held(held_before) - held_here or 0

-- room returns how many permits this session may take now, of whatever account.
local function room()
  return concurrency == 0 and math.huge or math.max(fair_share - held_here, free - set_aside)
end
local each = concurrency == 0 and math.huge or concurrency -- permits of an account
