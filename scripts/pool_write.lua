-- Last part of the pool's script: the new state, and the reply.

for _, c in ipairs(counters) do
  if c.charged then
    put(c.name, string.format('%.17g', c.tat), c.tat)
  end
end
for _, lane in ipairs(lanes) do
  if lane.used then
    put('r:' .. lane.name, string.format('%.0f', lane.cursor % 1000000), now)
  end
end
local held = {}
for _, p in ipairs(permits) do
  if p.held > 0 then
    held[#held + 1] = p.name .. '=' .. string.format('%.0f', p.held)
  end
end
if left > 0 or #held > 0 then
  local value = string.format('%.17g %.0f %.0f %.17g %s', now + ttl, seq, left, turn, table.concat(held, ','))
  put(session_field, value, now + ttl)
elseif turn > now then
  -- An idle session is gone once its turn has come round again.
  put(session_field, string.format('%.17g %.0f 0 %.17g ', turn, seq, turn), turn)
else
  dead[#dead + 1] = session_field
end
if #dead > 0 then
  redis.call('HDEL', KEYS[1], unpack(dead))
end
if #changed > 0 then
  put('x', string.format('%.17g', expires), expires)
  redis.call('HSET', KEYS[1], unpack(changed))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((expires - now) * 1000) + 1000))
end

if binding == NONE then
  binding = delayed
end
if left == 0 then
  wake = -1
elseif poll or wake == math.huge then
  wake = -2
else
  wake = math.ceil(wake * 1000000)
end
local reply = { math.floor(now * 1000000), wake, binding, waiting, reason }
for g = 1, #admitted do
  reply[#reply + 1] = admitted[g]
end
for i = 1, #runs do
  reply[#reply + 1] = runs[i]
end
return reply
