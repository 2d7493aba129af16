-- Keeps which process of a pool sends its alerts, and what it knows of them. No other script depends on it.
--
-- Expects core.lua.
--
-- KEYS   a HASH beside the pool's
-- ARGV   1 session  2 seconds for which the session leads from now on; 0: it leaves
--        3 seconds for which the state is kept  4 the state, or empty: it stays as it is
-- Reply  {1 if the session leads, else 0; the state, or empty}
--
-- Fields: leader, a session; till, when its lease ends (seconds since 2017); state. A session leads if no other one's lease
-- holds. Only the leader changes the state. A lease that lasts longer than a lease can is from before Redis' clock was set
-- back, and doesn't hold.

local key, session, state = KEYS[1], ARGV[1], ARGV[4]
local lease, kept = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = server_now('')
local LONGEST = 3600

local was = redis.call('HMGET', key, 'leader', 'till', 'state')
local left = (tonumber(was[2] or '') or 0) - now
if was[1] and was[1] ~= session and left > 0 and left <= LONGEST then
  return {0, was[3] or ''}
end
if lease <= 0 then
  redis.call('HDEL', key, 'leader', 'till')
  return {0, was[3] or ''}
end
local fields = {'leader', session, 'till', string.format('%.17g', now + math.min(lease, LONGEST))}
if state ~= '' then
  fields[5], fields[6] = 'state', state
end
redis.call('HSET', key, unpack(fields))
redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(kept * 1000)))
return {1, state ~= '' and state or was[3] or ''}
