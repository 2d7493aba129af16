-- Lists who holds and who waits, and changes nothing. Stands behind core.lua, share.lua, semaphore_adaptive.lua and semaphore_state.lua.
--
-- KEYS[1]  the semaphore's HASH
-- ARGV     1  now      test override of Redis' time (seconds since 2017), or empty
-- Reply    1  limit that counts now; -1: nobody has used the semaphore lately
--          2  ceiling: the configured limit
--          3  version of that
--          4  sessions
--          5  last latency, and
--          6  its baseline, as the adaptive limit knows them (µs); 0: unknown
--          then for each session: name, id, milliseconds since its begin, milliseconds until its end, permits
--          allocated, held, waited for, 1 if it is revoked else 0

local now = milliseconds(server_now(ARGV[1]))
local s = read_state(now, '')
if not s.header then
  return { -1, -1, 0, 0, 0, 0 }
end
local a = s.adaptive or { latency = 0, base = 0 }
local reply = { limit_of(s), s.header.limit, s.header.version, s.n, a.latency, a.base }
for i = 1, s.n do
  local v, k = s.value[i], #reply
  local field, held = field_of(v), held_of(v)
  reply[k + 1], reply[k + 2] = string.sub(v, 49 + #field), string.sub(field, 2)
  reply[k + 3], reply[k + 4] = now - number(v, 42, 46), number(v, 1, 5) - now
  reply[k + 5], reply[k + 6] = s.alloc[i], held
  reply[k + 7] = number(v, 23, 25) + number(v, 19, 21) + number(v, 26, 28) - held
  reply[k + 8] = is_revoked(v) and 1 or 0
end
return reply
