-- Counts the processes that use rate limits under one prefix.
--
-- KEYS  a sorted set: a process's random name by the time, in seconds since 2017, at which it is forgotten
-- ARGV  1 the process  2 seconds until it is forgotten
-- Reply {number of processes}

local now = server_now('')
local until_time = now + tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.17g', now))
redis.call('ZADD', KEYS[1], string.format('%.17g', until_time), ARGV[1])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(tonumber(ARGV[2]) * 1000)))
return {redis.call('ZCARD', KEYS[1])}
