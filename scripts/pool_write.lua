-- Last part of the pool's script: writes the new state, sends messages, and returns the reply.
--
-- Expects all parts before it.

-- The HASH lives for SPARE seconds longer than it is needed, so that not every call must write its expiry.
local SPARE = 60

for i = 1, #charged do
  counter_write(charged[i])
end
for i = 1, #turns do
  local its = turns[i]
  put(its.field, string.format('%d %.17g', its.cursor % 1000000, its.pass), now)
end
if #turns > 0 then
  put('v', string.format('%.17g', round), now)
end

local function held_now()
  local held = {}
  for i = 1, held_here > 0 and #accounts or 0 do
    local account = accounts[i]
    if account.held > 0 then
      held[#held + 1] = account.name .. '=' .. string.format('%d', account.held)
    end
  end
  return table.concat(held, ',')
end

local function write_session(ends)
  local waiting_for_permits = binding == PERMITS and left or poll and 1 or 0
  local value = string.format('%.17g %.0f %d %d %.17g %s', ends, seq, left, waiting_for_permits, turn, held_now())
  put(session_field, value, ends)
end

if left > 0 or held_here > 0 then
  write_session(now + ttl)
elseif turn > now or settled then
  -- An idle session ends when its turn has come, and when no later call can ask whether this one ran.
  write_session(settled and math.max(turn, now + ttl) or turn)
elseif field[session_field] then
  drop(session_field)
end
if #dead > 0 then
  redis.call('HDEL', KEYS[1], unpack(dead))
end
if written > 0 then
  generation, version = generation > 0 and generation or math.floor(now * 1000000), version + 1
  put('g', string.format('%.0f %.0f', generation, version), now)
  local late = needed > tonumber(field.x or 0)
  if late then
    put('x', string.format('%.17g', needed + SPARE), needed)
  end
  redis.call('HSET', KEYS[1], unpack(values))
  if late then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((needed + SPARE - now) * 1000) + 1000))
  end
end

-- For each permit that was returned, the waiting session that holds least gets a message.
if given_back > 0 and free > 0 and #permit_waiters > 0 then
  table.sort(permit_waiters, function(a, b)
    return a.sum < b.sum or (a.sum == b.sum and a.name < b.name)
  end)
  for i = 1, math.min(free, #permit_waiters) do
    redis.call('PUBLISH', KEYS[1] .. ':' .. permit_waiters[i].name, '')
  end
end

if binding == NONE then
  binding = delayed
end
if left == 0 then
  wake = -1
elseif wake == math.huge then
  wake = -2
else
  wake = math.ceil(wake * 1000000)
end
reply[1], reply[2], reply[3] = math.floor(now * 1000000), generation, version
reply[4], reply[5], reply[6], reply[7], reply[8] = wake, poll and 1 or 0, binding, waiting, reason
return reply
