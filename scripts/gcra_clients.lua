-- Counts the processes that use rate limits under one prefix.
--
-- Expects core.lua.
--
-- KEYS  a sorted set: a process's random name, scored by the time (seconds since 2017) at which its entry expires
-- ARGV  1 the process  2 seconds until its entry expires
-- Reply {number of processes}

local now = server_now('')
local until_time = now + tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.17g', now))
redis.call('ZADD', KEYS[1], string.format('%.17g', until_time), ARGV[1])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(tonumber(ARGV[2]) * 1000)))
return {redis.call('ZCARD', KEYS[1])}
