-- Admits calls to a pool of API keys: picks a key, charges every limit that the call touches and takes a permit, all
-- or nothing, for many calls of one process at once; takes in what the process reports. It is core.lua, this file,
-- pool_counter.lua, pool_block.lua, pool_report.lua, pool_admit.lua and pool_write.lua, one after the other.
--
-- A lane is a way that a call can take: keys that share all their limits (as a rule, the keys of one account, for one
-- family of models). It draws on counters, each a limit, and on permits, each a limit of calls in flight. The script
-- knows neither accounts nor models: several lanes may draw on one counter, and a demand says which lanes it may take.
--
-- KEYS[1]  the pool's HASH
--
-- ARGV     first the shape, which changes only with the configuration:
--          session     this process's session
--          ttl         seconds until the session ends unless it calls again
--          horizon     seconds ahead that a place may be booked
--          strategy    among lanes that can serve now: 'headroom', 'round_robin' or 'in_order'
--          M           how many metrics a cost has
--          C, then C × counter name, metric (1..M), interval (seconds per unit), burst (units),
--                      limit (units that any single call may cost), 1 if the burst grows to what calls cost, else 0,
--                      end (0: a GCRA limit; else a count that starts anew at that time, and burst units until then)
--          P, then P × permits' name, limit
--          L, then L × lane name, weight, permits (0: none, else 1..P),
--               B, then B × block name,  N, then N × counter (1..C),  K, then K × key name
--          then the call:
--          now         test override of Redis' time (seconds since 2017), or empty
--          deadline    do nothing after this time (seconds since 2017); 0: none
--          seq         from 1, grows with every call of the session; an older one does nothing
--          P × how many of the permits this session holds
--          R, then R × one of
--               'cool', block name, seconds from now, reason    not used for a while
--               'off', block name, seconds from now, reason     disabled; then tried by one call
--               'clear', block name                             no longer disabled
--               'settle', counter (1..C), units                 charged as debt, or refunded if negative
--               'hold', counter (1..C), seconds                 nothing more for that long
--               'used', counter (1..C), units                   of a count: at least so many are used
--               'slow', counter (1..C), factor, recovery, quiet slower by the factor, unless it became so within the
--                                                               last quiet seconds; whole again after recovery
--               'unless', seq        the reports that follow, to the next 'unless', count unless a call of the session
--                                    ran whose seq was that or a higher one; 0: they always count
--          G, then G × number of equal calls, first lane, last lane (1..L), seconds ahead that they may be booked,
--                      lane preferred (0: none), E, then E × lane that they must not take, M × cost
--          The block of key K is named 'k:K'. Names have no spaces, commas or equal signs.
--
-- Reply    now         microseconds since 2017
--          wake        microseconds from now until it is worth asking again for what was not admitted; -1: nothing
--                      is left; -2: nobody can tell
--          poll        1: a permit that comes back may help before; a message says so, or a poll if that is lost
--          binding     what is in the way of the first call that was not admitted, else of the last one admitted:
--                      0..C-1 a counter, -1 permits, -2 a cooldown, -3 every key is disabled, -4 nothing,
--                      -5 every key is disabled but for lanes that the call must not take
--          others      how many other sessions have calls waiting
--          reason      of a disabled key, for the first group with -3 in its way; else empty
--          G × number of calls admitted, of equal calls the first ones; what is in the way of the next one, as in
--              binding; -4 if there is none, or only calls that came before it
--          then for each run of calls admitted, in order: lane (0..L-1), key (0..K-1; -1..-K: the same, and the call
--          tries whether it is still disabled), how many, microseconds from now to their slot
-- Errors   LATE        the deadline has passed; nothing was done
--          STALE       a newer call of the session was here already; nothing was done
-- Messages on KEYS[1] .. ':' .. SESSION, for a session that waits for permits: some have come back
--
-- Fields of the HASH (times in seconds since 2017)
--          x                        when the HASH may expire
--          v                        how far round robin has come
--          t:COUNTER                theoretical arrival time; of a count: its end and the units used
--          f:COUNTER                pace as a share of the whole, when it was that, seconds from 0 to the whole
--          b:COUNTER                burst that it has grown to, when that was last needed
--          r:LANE                   which key is next, how far round robin has come with the lane
--          BLOCK                    until when, 'cool' or 'off', reason
--          s:SESSION                end, seq, calls waiting, of these for permits, turn, then PERMITS=held,…
--
-- Settlements: they are steps, not state, and count once. A session whose call was lost can't know whether it ran; it
-- tells what that call told once more, 'unless' that call ran. The seq of its last call that ran says which: calls are
-- ordered, and one that is late is stale. So a session that settled anything is remembered for a TTL.
--
-- Turns: where several sessions wait for limits, each booked call moves its session's turn ahead by what the call
-- takes of the pool times the number of those sessions. A session whose turn lies within the horizon, or four times as
-- far ahead as a call may be booked if that is more, books as far ahead as its demands say. One whose turn lies beyond
-- had more than its share: it books an eighth of the horizon ahead, and so gets what the others leave, as when one of
-- them has died, but never before them. What bulk work took is thus not held against a session's urgent calls, but
-- what they take is held against its bulk work.

local PERMITS, COOLDOWN, DISABLED, NONE, EXCLUDED = -1, -2, -3, -4, -5

local argi = 0
local function arg()
  argi = argi + 1
  return ARGV[argi]
end
local function num()
  argi = argi + 1
  return tonumber(ARGV[argi])
end

local session, ttl, horizon, strategy = arg(), num(), num(), arg()
local metrics = num()
local counters, permits, lanes = {}, {}, {}
for i = 1, num() do
  counters[i] = { index = i - 1, name = arg(), metric = num(), interval = num(), burst = num(), lanes = 0 }
  counters[i].limit, counters[i].grows, counters[i].ends = num(), num() == 1, num()
end
for i = 1, num() do
  permits[i] = { name = arg(), limit = num() }
end
for i = 1, num() do
  local lane = { index = i - 1, name = arg(), weight = num(), permits = permits[num()] }
  lane.blocks, lane.counters, lane.key_names = {}, {}, {}
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

-- The fields, and what other sessions that are alive wait for and hold.
local field, others, waiting = {}, {}, 0
local turn, ran, held_before = now, 0, '' -- ran: seq of this session's last call that did
local changed, dead = {}, {}
local session_field = 's:' .. session

local function read_session(name, value)
  local ends, its_seq, want, starved, its_turn, held = string.match(value, '^(%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  if name == session_field then
    ran = tonumber(its_seq)
    turn = math.max(now, tonumber(its_turn))
    held_before = held
  elseif tonumber(ends) <= now then
    dead[#dead + 1] = name
  else
    local other = { name = string.sub(name, 3), starved = tonumber(starved), held = held, sum = 0 }
    others[#others + 1] = other
    if tonumber(want) > other.starved then
      waiting = waiting + 1
    end
  end
end

local state = redis.call('HGETALL', KEYS[1])
for i = 1, #state, 2 do
  local name = state[i]
  if string.byte(name, 1) == 115 then
    read_session(name, state[i + 1])
  else
    field[name] = state[i + 1]
  end
end
if ran >= seq then
  return { err = 'STALE a newer call of this session was here before' }
end

local expires = math.max(now, tonumber(field.x or '0'))
local function put(name, value, needed_until)
  field[name] = value
  changed[#changed + 1] = name
  expires = math.max(expires, needed_until)
end
local function drop(name)
  field[name] = nil
  dead[#dead + 1] = name
end
