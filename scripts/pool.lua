-- Admits calls to a pool of API keys: picks a key, charges every limit that the call touches and takes a permit, all
-- or nothing, for many calls of one process at once; takes in what the process reports. It is core.lua,
-- semaphore_adaptive.lua, this file, pool_counter.lua, pool_block.lua, pool_report.lua, pool_permit.lua, pool_target.lua,
-- pool_admit.lua and pool_write.lua, one after the other.
--
-- A limit is each account's, each key's, or the pool's; a counter is what one of these has used of it. A model_group is the
-- models that the same limits count. A target is a way that a call can take: keys that share all their limits, for one
-- model_group. The targets of a model_group are the accounts, or if some limit is each key's, the keys.
--
-- KEYS[1]  the pool's HASH
--
-- ARGV     first the shape, which changes only with the configuration:
--          session     this process's session
--          ttl         seconds until the session ends unless it calls again
--          horizon     seconds ahead that a place may be booked
--          strategy    among targets that can serve now: 'least_loaded', 'round_robin' or 'first_available'
--          M           how many metrics a cost has
--          permits     calls in flight that each account may have; 0: any number
--          adaptive    0; or 1, and how that number follows what calls meet, up to permits (see
--                      semaphore_adaptive.lua): 1 if latency counts, too, else 0; the least number; the first; factor of a
--                      decrease; microseconds of a window; tolerance; smoothing; queue
--          L, then L × limit's name, 'account', 'key' or 'pool', metric (1..M), interval (seconds per unit),
--                      burst (units), limit (units that any single call may cost), 1 if the burst grows to what calls
--                      cost, else 0, end (0: a GCRA limit; else a count that starts anew at that time, and burst units
--                      until then)
--          F, then F × model_group's name, N, then N × limit (1..L)
--          A, then A × account's name, K, then K × key's name
--          W, then W × weight of a target, as any model_group has them, in order; 0: they all have 1
--          then the call:
--          now         test override of Redis' time (seconds since 2017), or empty
--          deadline    do nothing after this time (seconds since 2017); 0: none
--          seq         from 1, grows with every call of the session; an older one does nothing
--          known       generation and version of the state that this session saw last, if it has something to put
--                      back should that be lost; else 0 and 0
--          A × how many permits this session holds, unless there is no limit of them
--          R, then R × one of
--               'cool', block name, seconds from now, reason    not used for a while
--               'off', block name, seconds from now, reason     disabled; then tried by one call
--               'clear', block name                             no longer disabled
--               'settle', limit (1..L), whose, units            charged as debt, or refunded if negative
--               'hold', limit (1..L), whose, seconds            nothing more for that long
--               'used', limit (1..L), whose, units              of a count: at least so many are used
--               'booked', limit (1..L), whose, seconds          was used up for that long, by what is known of it
--               'adapt', account (1..A), calls that went well, calls that met an overload, microseconds that the
--                      former took together, most permits held at a time, first number of permits if nobody knows a
--                      better one (0: the shape's)
--               'slow', limit (1..L), whose, factor, recovery, quiet
--                                                               slower by the factor, unless it became so within the
--                                                               last quiet seconds; whole again after recovery
--               'unless', seq        the reports that follow, to the next 'unless', count unless a call of the session
--                                    ran whose seq was that or a higher one; 0: they always count
--          G, then G × number of equal calls, model_group (1..F), seconds ahead that they may be booked, target of the model_group
--                      that they prefer (from 1; 0: none), E, then E × target that they must not take, M × cost
--          Whose: an account or key, empty for the pool. Blocks: 'k:KEY', 'a:ACCOUNT' or 'm:ACCOUNT:FAMILY'. Names have
--          no spaces, colons, commas or equal signs.
--
-- Reply    now         microseconds since 2017
--          generation, version                              of the state; 0 and 0: there is none
--          wake        microseconds from now until it is worth asking again for what was not admitted; -1: nothing
--                      is left; -2: nobody can tell
--          poll        1: a permit that comes back may help before; a message says so, or a poll if that is lost
--          binding     what is in the way of the first call that was not admitted, else of the last one admitted:
--                      0..L-1 a limit, -1 permits, -2 a cooldown, -3 every key is disabled, -4 nothing,
--                      -5 every key is disabled but for targets that the call must not take
--          others      how many other sessions have calls waiting
--          reason      of a disabled key, for the first group with -3 in its way; else empty
--          G × number of calls admitted, of equal calls the first ones; what is in the way of the next one, as in
--              binding; -4 if there is none, or only calls that came before it
--          then for each run of calls admitted, in order: target of its model_group (from 0), key of that (0..K-1; -1..-K: the
--          same, and the call tries whether it is still disabled), how many, microseconds from now to their slot
-- Errors   LATE        the deadline has passed; nothing was done
--          STALE       a newer call of the session was here already; nothing was done
--          LOST        'all' or 'some' of the state that the session knew is gone; nothing was done
-- Messages on KEYS[1] .. ':' .. SESSION, for a session that waits for permits: some have come back
--
-- Fields of the HASH (times in seconds since 2017)
--          x                        when the HASH may expire
--          g                        generation: when the state began (microseconds); version: how often it was written
--          v                        how far round robin has come
--          t:COUNTER                theoretical arrival time; of a count: its end and the units used
--          f:COUNTER                pace as a share of the whole, when it was that, seconds from 0 to the whole
--          b:COUNTER                burst that it has grown to, when that was last needed
--          r:ACCOUNT:FAMILY:KEY     which key is next, how far round robin has come with the target; KEY is empty where
--                                   targets are accounts
--          BLOCK                    until when, 'cool' or 'off', reason
--          d:ACCOUNT                adaptive number of permits: as write_adaptive writes it
--          s:SESSION                end, seq, calls waiting, of these for permits, turn, then ACCOUNT=held,…
--          A counter is ACCOUNT:LIMIT, k:KEY:LIMIT or :LIMIT.
--
-- Settlements: they are steps, not state, and count once. A session whose call was lost can't know whether it ran; it
-- tells what that call told once more, 'unless' that call ran. The seq of its last call that ran says which: calls are
-- ordered, and one that is late is stale. So a session that settled anything is remembered for a TTL.
--
-- Lost writes: a session that comes back to a state that isn't the one that it knew, or an older version of it, does
-- nothing, and then reports what it knows: 'booked', 'used', and blocks.
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
local function num() -- adding 0 makes a number of text at a third of what tonumber costs
  argi = argi + 1
  return ARGV[argi] + 0
end

-- The shape. Tables with many fields are made in one go, so that they needn't grow, and those that there are many of
-- have few: most of what a call costs is the making of tables, strings and functions.
local session, ttl, horizon, strategy, metrics, concurrency = arg(), num(), num(), arg(), num(), num()
local adaptive = num() == 1 and {
  gradient = num() == 1, min = num(), initial = num(), backoff = num(), every = num(), tolerance = num(),
  smoothing = num(), queue = num(),
}

local limits, by_key = {}, false
for i = 1, num() do
  local name, scope = arg(), arg()
  by_key = by_key or scope == 'key'
  limits[i] = {
    index = i - 1, scope = scope, head = scope == 'key' and 't:k:' or 't:', tail = ':' .. name, metric = num(),
    interval = num(), burst = num(), limit = num(), grows = num() == 1, ends = num(),
  }
end

local model_groups = {}
for i = 1, num() do
  local model_group = { name = arg(), limits = {}, shares = false, targets = false }
  for n = 1, num() do
    local l = limits[num()]
    model_group.limits[n] = l
    -- whether several of its targets draw on one counter
    model_group.shares = model_group.shares or l.scope == 'pool' or (by_key and l.scope == 'account')
  end
  model_groups[i] = model_group
end

local accounts = {}
for i = 1, num() do
  local account = { name = arg(), keys = num(), first = argi, held = 0, taken = 0, permits = math.huge }
  argi = argi + account.keys
  accounts[i] = account
end
local function key_name(account, k)
  return ARGV[account.first + k]
end
local weights = {}
for i = 1, num() do
  weights[i] = num()
end

local now = server_now(arg())
local deadline, seq = num(), num()
local known_generation, known_version = num(), num()
if deadline > 0 and now > deadline then
  return { err = 'LATE the call reached Redis after its deadline' }
end

-- The state by field, the kinds of fields that there are, by their first letter, and what other sessions that are alive
-- wait for and hold.
local field, kinds, others, waiting = {}, {}, {}, 0
local dead = {} -- fields
local session_field = 's:' .. session

local function read_other(name, value)
  local ends, want, waiting_for_permits, held = string.match(value, '^(%S+) %S+ (%S+) (%S+) %S+ (.*)$')
  if tonumber(ends) <= now then
    dead[#dead + 1] = name
    return
  end
  waiting_for_permits = tonumber(waiting_for_permits)
  others[#others + 1] = { name = string.sub(name, 3), waiting_for_permits = waiting_for_permits, held = held, sum = 0 }
  if tonumber(want) > waiting_for_permits then
    waiting = waiting + 1
  end
end

local state = redis.call('HGETALL', KEYS[1])
for i = 1, #state, 2 do
  local name, kind = state[i], string.byte(state[i])
  if kind == 115 and name ~= session_field then
    read_other(name, state[i + 1])
  else
    kinds[kind] = true
    field[name] = state[i + 1]
  end
end
local paced, grown = kinds[102], kinds[98] -- f: and b:
local blocks = kinds[107] or kinds[97] or kinds[109] -- k:, a: and m:

local turn, held_before = now, ''
local ran = 0 -- seq of this session's last call that did
if field[session_field] then
  local its_seq, its_turn, held = string.match(field[session_field], '^%S+ (%S+) %S+ %S+ (%S+) (.*)$')
  ran, turn, held_before = tonumber(its_seq), math.max(now, tonumber(its_turn)), held
end
if ran >= seq then
  return { err = 'STALE a newer call of this session was here before' }
end

local generation, version = string.match(field.g or '0 0', '^(%d+) (%d+)$')
generation, version = tonumber(generation), tonumber(version)
if known_generation > 0 and known_generation ~= generation then
  return { err = 'LOST all of the state that this session knew' }
elseif known_version > version then
  return { err = 'LOST some of the state that this session knew' }
end

local needed = now -- until when the state is
local values, written = {}, 0 -- fields to write, and their values, in turn
local function put(name, value, needed_until)
  field[name] = value
  values[written + 1], values[written + 2] = name, value
  written = written + 2
  if needed < needed_until then
    needed = needed_until
  end
end
local function drop(name)
  field[name] = nil
  dead[#dead + 1] = name
  for i = written - 1, 1, -2 do
    if values[i] == name then
      table.remove(values, i + 1)
      table.remove(values, i)
      written = written - 2
    end
  end
end
