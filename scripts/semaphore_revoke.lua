-- Takes a session's permits back. Stands behind core.lua, share.lua, semaphore_adaptive.lua and
-- semaphore_state.lua.
--
-- The session isn't renewed any more. Its permits are free once it reports that it holds none, which it does at once
-- on the message, or else at its end.
--
-- KEYS[1]  the semaphore's HASH
-- ARGV     1  now      test override of Redis' time (seconds since 2017), or empty
--          2  session
-- Reply    1, or 0 if there is no such session

local now = milliseconds(server_now(ARGV[1]))
local field = 's' .. ARGV[2]
local row = redis.call('HGET', KEYS[1], field)
if not row or number(row, 1, 5) <= now then
  return 0
end
if not is_revoked(row) then
  local flags = string.char(string.byte(row, 22) + 1)
  redis.call('HSET', KEYS[1], field, string.sub(row, 1, 21) .. flags .. string.sub(row, 23))
end
wake(field, '')
return 1
