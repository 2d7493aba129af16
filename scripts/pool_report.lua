-- Part of the pool's script: what this process reports, and what follows for permits and lanes.

local held_here, capacity = 0, 0
for _, p in ipairs(permits) do
  p.held = num()
  p.taken = p.held
  held_here = held_here + p.held
  capacity = capacity + p.limit
end

local report = {
  cool = function()
    block('cool', arg(), now + num(), arg())
  end,
  off = function()
    block('off', arg(), now + num(), arg())
  end,
  clear = function()
    clear(arg())
  end,
  settle = function()
    counter_settle(counters[num()], num())
  end,
  hold = function()
    counter_hold(counters[num()], num())
  end,
  used = function()
    counter_used(counters[num()], num())
  end,
  slow = function()
    counter_slow(counters[num()], num(), num(), num())
  end,
}
local width = { cool = 3, off = 3, clear = 1, settle = 2, hold = 2, used = 2, slow = 4 } -- arguments after the kind
local counts, settled = true, false
for _ = 1, num() do
  local kind = arg()
  settled = settled or kind == 'settle'
  if kind == 'unless' then
    local told = num()
    counts = told == 0 or ran < told
  elseif counts then
    report[kind]()
  else
    argi = argi + width[kind]
  end
end

for _, lane in ipairs(lanes) do
  open_lane(lane)
  local cursor, pass = string.match(field['r:' .. lane.name] or '0 0', '^(%S+) (%S+)$')
  lane.cursor, lane.pass = tonumber(cursor), tonumber(pass)
end

-- Permits: what other sessions hold, and what is set aside for those that wait for some and hold less than a fair
-- share.
local function sum_held(held, each)
  local sum = 0
  for name, n in string.gmatch(held, '([^=,]+)=(%d+)') do
    n = tonumber(n)
    sum = sum + n
    each(name, n)
  end
  return sum
end

local contenders, starving = 1, {}
if capacity > 0 then
  local by_name = {}
  for _, p in ipairs(permits) do
    by_name[p.name] = p
  end
  for _, other in ipairs(others) do
    other.sum = sum_held(other.held, function(name, n)
      if by_name[name] then
        by_name[name].taken = by_name[name].taken + n
      end
    end)
    if other.starved > 0 or other.sum > 0 then
      contenders = contenders + 1
    end
  end
end
local fair_share = math.ceil(capacity / contenders)
local set_aside, free = 0, 0
for _, other in ipairs(others) do
  if other.starved > 0 and other.sum < fair_share then
    set_aside = set_aside + math.min(other.starved, fair_share - other.sum)
    starving[#starving + 1] = other
  end
end
for _, p in ipairs(permits) do
  free = free + math.max(0, p.limit - p.taken)
end
local given_back = sum_held(held_before, function() end) - held_here

-- room returns how many permits of a lane this session may take now.
local function room(lane)
  local p = lane.permits
  if not p then
    return math.huge
  end
  return math.min(p.limit - p.taken, math.max(fair_share - held_here, free - set_aside))
end
