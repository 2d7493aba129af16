-- Admits calls to a pool of API keys: picks a key, charges every limit that the call touches and takes a permit, all
-- or nothing, for many calls of one process at once; takes in what the process reports. It is core.lua, this file,
-- pool_read.lua, pool_admit.lua and pool_write.lua, one after the other.
--
-- A lane is a way that a call can take: keys that share all their limits (as a rule, the keys of one account). It
-- draws on counters, each a GCRA limit, and on permits, each a limit of calls in flight. The script knows neither
-- accounts nor models: several lanes may draw on one counter, and a demand says which lanes it may take.
--
-- KEYS[1]  the pool's HASH
--
-- ARGV     first the shape, which changes only with the configuration:
--          session     this process's session
--          ttl         seconds until the session ends unless it calls again
--          horizon     seconds ahead that a place may be booked
--          M           how many metrics a cost has
--          C, then C × counter name, metric (1..M), interval (seconds per unit), burst (units)
--          P, then P × permits' name, limit
--          L, then L × lane name, permits (0: none, else 1..P),
--               B, then B × block name,  N, then N × counter (1..C),  K, then K × key name
--          then the call:
--          now         test override of Redis' time (seconds since 2017), or empty
--          deadline    do nothing after this time (seconds since 2017); 0: none
--          seq         grows with every call of the session; an older one does nothing
--          P × how many of the permits this session holds
--          R, then R × one of
--               'cool', block name, seconds from now, reason    not used for a while
--               'off', block name, seconds from now, reason     disabled
--               'settle', counter (1..C), units                 charged as debt, or refunded if negative
--          G, then G × number of equal calls, first lane, last lane (1..L), M × cost
--          The block of key K is named 'k:K'. Names have no spaces, commas or equal signs.
--
-- Reply    now         microseconds since 2017
--          wake        microseconds from now until it is worth asking again for what was not admitted; -1: nothing
--                      is left; -2: a permit may help, of which only a poll tells
--          binding     what is in the way of the first call that was not admitted, else of the last one admitted:
--                      0..C-1 a counter, -1 permits, -2 a cooldown, -3 every key is disabled, -4 nothing
--          others      how many other sessions have calls waiting
--          reason      of a disabled key, where binding is -3; else empty
--          G × number of calls admitted; of equal calls the first ones are
--          then for each run of calls admitted, in order: lane (0..L-1), key (0..K-1), how many, microseconds from
--          now to their slot
-- Errors   LATE        the deadline has passed; nothing was done
--          STALE       a newer call of the session was here already; nothing was done
--
-- Fields of the HASH (times in seconds since 2017)
--          x                        when the HASH may expire
--          t:COUNTER                theoretical arrival time
--          r:LANE                   which key is next
--          BLOCK                    until when, 'cool' or 'off', reason
--          s:SESSION                end, seq, calls waiting, turn, then PERMITS=held,…
--
-- Turns: where several sessions have calls waiting, each booked call moves its session's turn ahead by what the call
-- takes of the pool times the number of those sessions. A session whose turn lies within the horizon books that far
-- ahead. One whose turn lies beyond had more than its share: it books a quarter as far ahead, and so gets what the
-- others leave, as when one of them has died, but never before them.

local PERMITS, COOLDOWN, DISABLED, NONE = -1, -2, -3, -4

local argi = 0
local function arg()
  argi = argi + 1
  return ARGV[argi]
end
local function num()
  argi = argi + 1
  return tonumber(ARGV[argi])
end

local session, ttl, horizon = arg(), num(), num()
local metrics = num()
local counters, permits, lanes = {}, {}, {}
for i = 1, num() do
  counters[i] = { index = i - 1, name = 't:' .. arg(), metric = num(), interval = num(), burst = num(), lanes = 0 }
end
for i = 1, num() do
  permits[i] = { name = arg(), limit = num() }
end
for i = 1, num() do
  local lane = { index = i - 1, name = arg(), permits = permits[num()], blocks = {}, counters = {}, key_names = {} }
  for b = 1, num() do
    lane.blocks[b] = arg()
  end
  for c = 1, num() do
    local counter = counters[num()]
    lane.counters[c] = counter
    counter.lanes = counter.lanes + 1
  end
  for k = 1, num() do
    lane.key_names[k] = arg()
  end
  lanes[i] = lane
end
for _, lane in ipairs(lanes) do
  for _, counter in ipairs(lane.counters) do
    lane.shares = lane.shares or counter.lanes > 1
  end
end

local now = server_now(arg())
local deadline, seq = num(), num()
if deadline > 0 and now > deadline then
  return { err = 'LATE the call reached Redis after its deadline' }
end
