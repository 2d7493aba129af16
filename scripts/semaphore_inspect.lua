-- Lists who holds and who waits, and changes nothing. Stands behind core.lua, share.lua and semaphore_state.lua.
--
-- KEYS[1]  the semaphore's HASH
-- ARGV     1  now      test override of Redis' time (seconds since 2017), or empty
-- Reply    1  limit that counts now; -1: nobody has used the semaphore lately
--          2  ceiling: the configured limit
--          3  version of that
--          4  sessions
--          then for each session: name, id, milliseconds since its begin, milliseconds until its end, permits
--          allocated, held, waited for, 1 if it is revoked else 0

local now = milliseconds(server_now(ARGV[1]))
local s = read_state(now, '')
cap_sessions(s, now)
if not s.header then
  return { -1, -1, 0, 0 }
end
local reply = { s.header.limit, s.header.limit, s.header.version, s.n }
for i = 1, s.n do
  local v, k = s.text[s.field[i]], #reply
  reply[k + 1], reply[k + 2] = string.sub(v, 47), string.sub(s.field[i], 2)
  reply[k + 3], reply[k + 4] = now - number(v, 42, 46), s.ends[i] - now
  reply[k + 5], reply[k + 6], reply[k + 7] = s.alloc[i], s.held[i], s.demand[i] - s.held[i]
  reply[k + 8] = number(v, 31, 31)
end
return reply
