-- Last part of the pool's script: the new state, messages, and the reply.

for _, c in ipairs(counters) do
  if c.charged then
    counter_write(c)
  end
end
for _, lane in ipairs(lanes) do
  if lane.used then
    put('r:' .. lane.name, string.format('%.0f %.17g', lane.cursor % 1000000, lane.pass), now)
    put('v', string.format('%.17g', round), now)
  end
end
local held = {}
for _, p in ipairs(permits) do
  if p.held > 0 then
    held[#held + 1] = p.name .. '=' .. string.format('%.0f', p.held)
  end
end
local starved = poll and 1 or 0
if binding == PERMITS then
  starved = left
end
if left > 0 or #held > 0 then
  local value = string.format('%.17g %.0f %.0f %.0f %.17g %s', now + ttl, seq, left, starved, turn, table.concat(held, ','))
  put(session_field, value, now + ttl)
elseif turn > now or settled then
  -- An idle session is gone once its turn has come round again, and nobody can ask any more whether this call ran.
  local gone = settled and math.max(turn, now + ttl) or turn
  put(session_field, string.format('%.17g %.0f 0 0 %.17g ', gone, seq, turn), gone)
else
  drop(session_field)
end
if #dead > 0 then
  redis.call('HDEL', KEYS[1], unpack(dead))
end
if #changed > 0 then
  put('x', string.format('%.17g', expires), expires)
  local values = {}
  for _, name in ipairs(changed) do
    if field[name] then -- else it was dropped after all
      values[#values + 1] = name
      values[#values + 1] = field[name]
    end
  end
  redis.call('HSET', KEYS[1], unpack(values))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((expires - now) * 1000) + 1000))
end

-- Permits that came back wake those who wait for them and have least, each by a message of its own.
if given_back > 0 and free > 0 and #starving > 0 then
  table.sort(starving, function(a, b)
    return a.sum < b.sum or (a.sum == b.sum and a.name < b.name)
  end)
  for i = 1, math.min(free, #starving) do
    redis.call('PUBLISH', KEYS[1] .. ':' .. starving[i].name, '')
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
local reply = { math.floor(now * 1000000), wake, poll and 1 or 0, binding, waiting, reason }
for g = 1, #admitted do
  reply[#reply + 1] = admitted[g]
end
for i = 1, #runs do
  reply[#reply + 1] = runs[i]
end
return reply
