-- Takes a session's permits back.
--
-- The session isn't renewed any more. Its permits are free once it reports that it holds none. It does so on the message,
-- or its permits are free at its end.
--
-- Expects the same parts as semaphore.lua.
--
-- KEYS[1]  the semaphore's HASH
-- ARGV     1  now      test override of Redis' time (seconds since 2017), or empty
--          2  session
-- Reply    1, or 0 if there is no such session

local s = read_state(ARGV[2])
end_sessions(s, milliseconds(server_now(ARGV[1])))
local revoked, _, ticket
if s.mine then
  revoked, _, _, _, ticket = decode_session(s.mine)
end
if not ticket or not position(s.sessions, ticket) then
  return 0
end
if not revoked then
  redis.call('HSET', KEYS[1], 's' .. ARGV[2], '1' .. string.sub(s.mine, 2))
end
wake(ARGV[2], '')
return 1
