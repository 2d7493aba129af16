-- Returns the time and the state of a pool, and changes nothing. Stands behind core.lua.
--
-- KEYS[1]  the pool's HASH
-- Reply    microseconds since 2017, then the HASH's fields and values in turn (see pool.lua)

local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, math.floor(server_now('') * 1000000))
return reply
