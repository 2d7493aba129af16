-- Second part of the pool's script: what the HASH says, and what this process reports.

-- The fields, and what other sessions that are alive wait for and hold.
local field, others, waiting = {}, {}, 0
local turn, stale = now, false
local changed, dead = {}, {}
local session_field = 's:' .. session

local function read_session(name, value)
  local ends, its_seq, want, its_turn, held = string.match(value, '^(%S+) (%S+) (%S+) (%S+) (.*)$')
  if name == session_field then
    stale = tonumber(its_seq) >= seq
    turn = math.max(now, tonumber(its_turn))
  elseif tonumber(ends) <= now then
    dead[#dead + 1] = name
  else
    want = tonumber(want)
    if want > 0 then
      waiting = waiting + 1
    end
    others[#others + 1] = { want = want, held = held, sum = 0 }
  end
end

local state = redis.call('HGETALL', KEYS[1])
for i = 1, #state, 2 do
  local name = state[i]
  if string.byte(name, 1) == 115 then
    read_session(name, state[i + 1])
  else
    field[name] = state[i + 1]
  end
end
if stale then
  return { err = 'STALE a newer call of this session was here before' }
end

for _, counter in ipairs(counters) do
  counter.tat = tonumber(field[counter.name] or '0')
end

local expires = math.max(now, tonumber(field.x or '0'))
local function put(name, value, needed_until)
  changed[#changed + 1] = name
  changed[#changed + 1] = value
  expires = math.max(expires, needed_until)
end

-- read_block returns until when a block holds, whether it disables, and why.
local function read_block(name)
  local value = field[name]
  if not value then
    return 0, false, ''
  end
  local till, kind, reason = string.match(value, '^(%S+) (%S+) (.*)$')
  till = tonumber(till)
  if till <= now then
    dead[#dead + 1] = name
    return 0, false, ''
  end
  return till, kind == 'off', reason
end

-- block writes a report. The later deadline wins, and what is disabled isn't turned into what cools down.
local function block(kind, name, till, reason)
  local old, was_off = read_block(name)
  if till > now and (till > old or (kind == 'off' and not was_off)) then
    if was_off then
      kind = 'off'
    end
    field[name] = string.format('%.17g %s %s', math.max(till, old), kind, reason)
    put(name, field[name], till)
  end
end

local held_here = 0
local capacity = 0
for _, p in ipairs(permits) do
  p.held = num()
  p.taken = p.held
  held_here = held_here + p.held
  capacity = capacity + p.limit
end

for _ = 1, num() do
  local kind = arg()
  if kind == 'settle' then
    local counter, units = counters[num()], num()
    -- A refund gives back what was charged, never more than the limit's whole burst.
    counter.tat = math.max(counter.tat, now) + units * counter.interval
    counter.charged = true
  else
    block(kind, arg(), now + num(), arg())
  end
end

-- Permits: what other sessions hold, and what is set aside for those that wait and hold less than a fair share.
local by_name, contenders = {}, 1
for _, p in ipairs(permits) do
  by_name[p.name] = p
end
if capacity > 0 then
  for _, other in ipairs(others) do
    for name, held in string.gmatch(other.held, '([^=,]+)=(%d+)') do
      held = tonumber(held)
      other.sum = other.sum + held
      if by_name[name] then
        by_name[name].taken = by_name[name].taken + held
      end
    end
    if other.want > 0 or other.sum > 0 then
      contenders = contenders + 1
    end
  end
end
local fair_share = math.ceil(capacity / contenders)
local set_aside, free = 0, 0
for _, other in ipairs(others) do
  if other.want > 0 and other.sum < fair_share then
    set_aside = set_aside + math.min(other.want, fair_share - other.sum)
  end
end
for _, p in ipairs(permits) do
  free = free + math.max(0, p.limit - p.taken)
end

-- room returns how many permits of a lane this session may take now.
local function room(lane)
  local p = lane.permits
  if not p then
    return math.huge
  end
  return math.min(p.limit - p.taken, math.max(fair_share - held_here, free - set_aside))
end

-- A lane is open if neither it nor all its keys are blocked.
for _, lane in ipairs(lanes) do
  local till, off, reason = 0, false, ''
  for _, name in ipairs(lane.blocks) do
    local its_till, its_off, its_reason = read_block(name)
    till = math.max(till, its_till)
    if its_off then
      off, reason = true, its_reason
    end
  end
  lane.keys, lane.back, lane.off = {}, math.huge, true
  for k, name in ipairs(lane.key_names) do
    local key_till, key_off, key_reason = read_block('k:' .. name)
    if off or key_off then
      lane.reason = key_off and key_reason or reason
    else
      lane.off = false
    end
    if math.max(till, key_till) <= now then
      lane.keys[#lane.keys + 1] = k - 1
    end
    lane.back = math.min(lane.back, math.max(till, key_till))
  end
  lane.open = #lane.keys > 0
  lane.cursor = tonumber(field['r:' .. lane.name] or '0')
end
