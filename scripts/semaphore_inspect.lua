-- Lists the sessions that hold or wait. It changes nothing.
--
-- Expects the same parts as semaphore.lua.
--
-- KEYS[1]  the semaphore's HASH
-- ARGV     1  now      test override of Redis' time (seconds since 2017), or empty
-- Reply    1  limit in force; -1: the semaphore has no state
--          2  ceiling: the configured limit
--          3  its version
--          4  sessions
--          5  last latency of the adaptive limit (µs); 0: unknown
--          6  its baseline (µs); 0: unknown
--          then for each session: name, ID, milliseconds since its begin, milliseconds until its end, permits
--          allocated, held, waited for, 1 if it is revoked else 0

local now = milliseconds(server_now(ARGV[1]))
local s = read_state('')
if not s.header then
  return { -1, -1, 0, 0, 0, 0 }
end
end_sessions(s, now)
local a = s.adaptive or { latency = 0, base = 0 }
local list = list_sessions(s.sessions)
local reply = { limit_of(s), s.header.limit, s.header.version, #list, a.latency, a.base }
for i, session in ipairs(list) do
  local k, id = #reply, id_of(session.ticket)
  local mine = redis.call('HGET', KEYS[1], 's' .. id) or '0 0 0 0 0 0 '
  local revoked, _, _, begin = decode_session(mine)
  local held, name = held_and_name(mine)
  reply[k + 1], reply[k + 2], reply[k + 3], reply[k + 4] = name, id, now - begin, session.ends - now
  reply[k + 5], reply[k + 6] = session[ALLOC], held
  reply[k + 7] = session[HIGH] + session[NORMAL] + session[LOW] - held
  reply[k + 8] = revoked and 1 or 0
end
return reply
