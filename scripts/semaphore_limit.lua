-- Changes a semaphore's limit for every process.
--
-- Expects the same parts as semaphore.lua.
--
-- KEYS[1]  the semaphore's HASH
-- ARGV     1  now      test override of Redis' time (seconds since 2017), or empty
--          2  limit    permits; 0: none is given until the limit is raised
--          3  version  the highest that the caller knows
-- Reply    the version of the new limit: higher than any before

local now = milliseconds(server_now(ARGV[1]))
local invalid = check_integers(2, 3)
if invalid then
  return invalid
end
local s = read_state('')
end_sessions(s, now)
local version = math.max(s.header and s.header.version or 0, tonumber(ARGV[3])) + 1
s.header = { limit = tonumber(ARGV[2]), version = version, till = now, ttl = s.header and s.header.ttl or 0 }
write_state(s, now, s.sessions.text, kept_until(s, now, s.sessions.latest), { 'c', write_header(s.header) })
wake('', '')
return version
