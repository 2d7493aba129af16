-- Admits calls to a pool of API keys. For each call the script picks a target and a key, charges every limit that the call
-- touches and takes a permit, all or nothing. One run serves many calls of one process, and takes in what it reports.
--
-- The script is core.lua, semaphore_adaptive.lua, this file, pool_counter.lua, pool_block.lua, pool_report.lua,
-- pool_permit.lua, pool_target.lua, pool_admit.lua and pool_write.lua, in this order.
--
-- A limit is one of each account, of each key, or of the pool. A counter is the use of one of these. A model group is the
-- models that the same limits count. A target is what a call can be sent with: keys that share all their limits, for one
-- model group. The targets of a model group are the accounts, or the keys if some limit is per key.
--
-- KEYS[1]  the pool's HASH
--
-- ARGV     first the configuration:
--          session     this process's session
--          ttl         seconds until the session ends unless it calls again
--          horizon     seconds ahead that a call may be booked
--          strategy    among targets that can serve now: 'least_loaded', 'round_robin' or 'first_available'
--          M           how many metrics a cost has
--          permits     calls in flight that each account may have; 0: any number
--          adaptive    0; or 1, and how that number adapts, up to permits (see semaphore_adaptive.lua): 1 if latency counts,
--                      else 0; the least number; the first; factor of a decrease; microseconds of a window; tolerance;
--                      smoothing; queue
--          L, then L × limit's name, 'account', 'key' or 'pool', metric (1..M), interval (seconds per unit),
--                      burst (units), limit (units that any single call may cost), 1 if the burst grows to what calls
--                      cost, else 0, end (0: a GCRA limit; else a count that starts anew at that time, and burst units
--                      until then)
--          F, then F × model group's name, N, then N × limit (1..L)
--          A, then A × account's name, K, then K × key's name
--          W, then W × weight of a target, as each model group has them, in order; 0: all are 1
--          then the call:
--          now         test override of Redis' time (seconds since 2017), or empty
--          deadline    do nothing after this time (seconds since 2017); 0: none
--          seq         from 1, grows with every call of the session; an older call does nothing
--          known       generation and version of the state that this session saw last, if it could restore something
--                      that is lost; else 0 and 0
--          A × how many permits this session holds, unless permits is 0
--          R, then R × one of
--               'cool', block name, seconds from now, reason    a cooldown
--               'off', block name, seconds from now, reason     disabled; then one call tests it
--               'clear', block name                             no longer disabled
--               'settle', limit (1..L), owner, units            charged as debt, or refunded if negative
--               'hold', limit (1..L), owner, seconds            nothing more for that long
--               'used', limit (1..L), owner, units              of a count: at least this many are used
--               'booked', limit (1..L), owner, seconds          restores a counter: used up for that long
--               'adapt', account (1..A), successes, overloads, microseconds of the successes' latencies together, most
--                      permits held at a time, first number of permits if Redis has none (0: as the configuration says)
--               'slow', limit (1..L), owner, factor, recovery, quiet
--                                                               slower by the factor, unless it became so within the
--                                                               last quiet seconds; whole again after recovery
--               'unless', seq        the reports that follow, up to the next 'unless', take effect unless a call of the
--                                    session with this seq or a higher one ran; 0: they always do
--          G, then G × number of equal calls, model group (1..F), seconds ahead that they may be booked, target that they
--                      prefer (from 1; 0: none), E, then E × excluded target, M × cost
--          owner: an account or key, empty for the pool. Blocks: 'k:KEY', 'a:ACCOUNT' or 'm:ACCOUNT:GROUP'. Names have
--          no spaces, colons, commas or equal signs.
--
-- Reply    now         microseconds since 2017
--          generation, version                              of the state; 0 and 0: there is none
--          wake        microseconds from now until another call may admit what was not admitted; -1: nothing is left;
--                      -2: unknown
--          poll        1: a released permit may help before; a message says so, or a poll if the message is lost
--          binding     what delays the first call that was not admitted, else the last one admitted: 0..L-1 a limit,
--                      -1 permits, -2 a cooldown, -3 every key is disabled, -4 nothing, -5 every key is disabled except
--                      those of excluded targets
--          others      how many other sessions have calls waiting
--          reason      of a disabled key, for the first demand that -3 delays; else empty
--          G × number of calls admitted, of equal calls the first ones; what delays the next one, as in binding; -4 if
--              there is none, or only calls that came before it
--          then for each run of admitted calls, in order: target (from 0), key of that (0..K-1; -1..-K: the same, and the
--          call tests whether the key is still disabled), how many, microseconds from now to their send time
-- Errors   LATE        the deadline has passed; nothing was done
--          STALE       a newer call of the session ran before; nothing was done
--          LOST        'all' or 'some' of the state that the session knew is gone; nothing was done
-- Messages on KEYS[1] .. ':' .. SESSION, for a session that waits for permits: some were released
--
-- Fields of the HASH (times in seconds since 2017)
--          x                        when the HASH may expire
--          g                        generation: when the state began (microseconds); version: how often it was written
--          v                        the round of round robin
--          t:COUNTER                theoretical arrival time; of a count: its end and the units used
--          f:COUNTER                slowed limit: share of its rate, since when, seconds from 0 to the whole rate
--          b:COUNTER                grown burst: units, when a call last needed it
--          r:ACCOUNT:GROUP:KEY      the next key, the target's round of round robin; KEY is empty where targets are accounts
--          BLOCK                    until when, 'cool' or 'off', reason
--          d:ACCOUNT                adaptive number of permits: as write_adaptive writes it
--          s:SESSION                end, seq, calls waiting, of these for permits, turn, then ACCOUNT=held,…
--          A counter is ACCOUNT:LIMIT, k:KEY:LIMIT or :LIMIT.
--
-- Settlements are steps, not state, and take effect once. If the outcome of a call is unknown, the session's next call
-- repeats its settlements after 'unless'. The seq of the session's last call that ran then decides, because calls are
-- ordered and a late one is stale. So a session that settled anything is kept for a TTL.
--
-- Lost writes: a session that has seen another generation, or a later version, does nothing. It then reports what it
-- knows: 'booked', 'used', and blocks.
--
-- Turns: where several sessions wait for limits, each booked call moves its session's turn ahead by what the call takes of
-- the pool, times the number of those sessions. While a session's turn lies within the horizon, or within four times as far
-- as a call may be booked if that is more, it books as far ahead as its demands say. Beyond, it has had more than its share
-- and books an eighth of the horizon ahead: it gets what the others leave, but never before them. So what low-priority work
-- took isn't held against a session's urgent calls, but what urgent calls take is held against its low-priority work.

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

-- The configuration. Most of the cost of a call is making tables, strings and functions. So tables with many fields are
-- made in one go, and tables that exist in numbers have few fields.
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

-- The state by field; the kinds of fields that exist, by their first letter; what other live sessions wait for and hold.
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
local ran = 0 -- seq of this session's last call that ran
if field[session_field] then
  local its_seq, its_turn, held = string.match(field[session_field], '^%S+ (%S+) %S+ %S+ (%S+) (.*)$')
  ran, turn, held_before = tonumber(its_seq), math.max(now, tonumber(its_turn)), held
end
if ran >= seq then
  return { err = 'STALE a newer call of this session ran before' }
end

local generation, version = string.match(field.g or '0 0', '^(%d+) (%d+)$')
generation, version = tonumber(generation), tonumber(version)
if known_generation > 0 and known_generation ~= generation then
  return { err = 'LOST all of the state that this session knew' }
elseif known_version > version then
  return { err = 'LOST some of the state that this session knew' }
end

local needed = now -- until when the state is needed
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
