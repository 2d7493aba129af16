-- Admits calls to a pool of API keys. For each call the script picks a target and a key, charges every limit that the
-- call touches and takes a permit, all or nothing. One run serves many calls of one process, and takes in what it
-- reports.
--
-- The script is core.lua, pool_single.lua, semaphore_adaptive.lua, this file, pool_field.lua, pool_target.lua, pool_state.lua,
-- pool_session.lua, pool_counter.lua, pool_block.lua, pool_limits.lua, pool_report.lua, pool_permit.lua,
-- pool_evaluate.lua, pool_tenant.lua, pool_admit.lua, pool_scan.lua and pool_write.lua, in this order.
--
-- A limit is one of each account, of each key, or of the pool. A counter is the use of one of these. A model group is
-- the models that the same limits count. A target is what a call can be sent with: keys that share all their limits,
-- for one model group. The targets of a model group are the accounts, or the keys if some limit is per key.
--
-- KEYS[1]  the pool's HASH
--
-- ARGV     first what changes only with the configuration:
--          session     this process's session
--          ttl         seconds until the session's permits are free unless it calls again
--          horizon     seconds ahead that a call may be booked
--          strategy    among targets that can serve now: 'least_loaded', 'round_robin' or 'first_available'
--          M           how many metrics a cost has
--          accounts    ACCOUNT=PERMITS,… of all accounts: calls in flight that each may have; empty: any number
--          adaptive    empty; or how these numbers adapt, up to PERMITS (see semaphore_adaptive.lua), in one text: 1 if
--                      latency counts, else 0; the least number; the first; factor of a decrease; microseconds of a
--                      window; tolerance; smoothing; queue
--          then the call:
--          now         test override of Redis' time (seconds since 2017), or empty
--          deadline    do nothing after this time (microseconds since 2017); 0: none
--          seq         from 1, grows with every call of the session; an older call does nothing
--          origin, generation, version, seq, sessions of the last reply that the session got, if it could restore
--                      something that is lost; else five times 0
--          held        ACCOUNT=n,… of the permits that this session holds
--          L, then L × one of the limits that the call touches:
--                      index (0..), name, 'account', 'key' or 'pool', metric (1..M), interval (seconds per unit),
--                      burst (units), limit (units that any single call may cost), 1 if the burst grows to what calls
--                      cost, else 0, end (0: a GCRA limit; else a count that starts anew at that time, and burst units
--                      until then), period (seconds for which the provider counts a unit)
--          F, then F × model group's name, N, then N × limit (1..L), T (how many targets it has), targets (all of them,
--                      each followed by a line feed), S, then S × one of them that the demands look at first
--                      A target: NUMBER ACCOUNT PERMITS WEIGHT PERKEY KEY,… OWN – NUMBER from 1, PERKEY 1 if the target is a
--                      key, else 0. OWN, which may be left out, is where the account's limits differ from the group's:
--                      n=INDEX/INTERVAL/BURST/LIMIT/GROWS/END/PERIOD,… in place of the group's nth limit; n=-: it has none
--          R, then R × one of
--               'cool', block name, seconds from now, reason    a cooldown
--               'off', block name, seconds from now, reason     disabled; then one call tests it
--               'grow', 'cool' or 'off', block name, seconds from now, factor, most seconds, reason
--                      likewise; factor times as long as the last one, at most so many seconds, while it is repeated
--               'clear', block name                             no longer disabled
--               'calm', block name                              a cooldown that is over isn't repeated
--               'settle', limit (1..L), owner, units, charged   charged as debt, or refunded if negative; charged: when the
--                                                               units were (seconds since 2017), 0: now
--               'hold', limit (1..L), owner, seconds            nothing more for that long
--               'used', limit (1..L), owner, units              of a count: at least this many are used
--               'booked', limit (1..L), owner, seconds          restores a counter: used up for that long
--               'adapt', account, permits, successes, overloads, microseconds of the successes' latencies together, most
--                      permits held at a time, first number of permits if Redis has none (0: as the configuration says)
--               'slow', limit (1..L), owner, factor, recovery, quiet
--                                                               slower by the factor, unless it became so within the
--                                                               last quiet seconds; whole again after recovery
--               'limits', version, text
--                                    first of all reports: the limits that the process follows, or with a text, that
--                                    it sets or restores (see pool_limits.lua)
--               'ramp', seconds       all limits but counts run at a share of their rates that grows from a tenth to the whole within
--                                     so many seconds of the pool's first start. Before all other reports but 'limits'
--               'unless', seq        the reports that follow, up to the next 'unless', take effect unless a call of the
--                                    session with this seq or a higher one ran; 0: they always do
--          G, then G × number of equal calls, model group (1..F), microseconds ahead that they may be booked, target that they
--                      prefer (NUMBER; 0: none), E, then E × excluded target (NUMBER), C, then C × candidate (1..S); 0:
--                      look at all targets at once; then M × cost
--                      G is negative where the calls are of tenants. Then it is followed by: 1 if some tenant of the pool is
--                      guaranteed a share, else 0; T, then T × name, weight, guaranteed share (0: none); -G × tenant (1..T)
--          owner: an account or key, empty for the pool. Blocks: 'k:KEY', 'a:ACCOUNT' or 'm:ACCOUNT:GROUP'. Names have
--          no spaces, colons, commas or equal signs.
--
-- Reply    now         microseconds since 2017
--          origin, generation, version                      of the state
--          sessions    that hold permits or have calls waiting
--          wake        microseconds from now until another call may admit what was not admitted; -1: nothing is left;
--                      -2: unknown
--          poll        1: a released permit may help before; a message says so, or a poll if the message is lost
--          binding     what delays the first call that was not admitted, else the last one admitted: 0.. the index of a
--                      limit, -1 permits, -2 a cooldown, -3 every key is disabled, -4 nothing, -5 every key is disabled
--                      except those of excluded targets
--          others      how many other sessions have calls waiting for limits
--          unreadable  how many fields were found unreadable, since the pool's beginning
--          refused     how many reports of this call were refused: a settlement that can't be true
--          muted       1: Redis refused a message
--          reason      length of the reason of a disabled key, for the first demand that -3 delays
--          G × number of calls admitted, of equal calls the first ones; what delays the next one, as in binding; -4 if
--              there is none, or only calls that came before it
--          then for each run of admitted calls, in order: target (from 0), key of that (0..K-1; -1..-K: the same, and the
--          call tests whether the key is still disabled), how many, microseconds from now to their send time
--          then the bytes of the reason
-- Errors   LATE        the deadline has passed; nothing was done
--          STALE       a newer call of the session ran before; nothing was done
--          LAYOUT      have want: the state has another layout; nothing was done
--          LOST        'all' or 'some' of the state that the session knew is gone; nothing was admitted
--          LIMITS      version text: the limits that rule, if the process follows others (0: none rule); nothing was done
-- Messages on KEYS[1] .. ':' .. SESSION, for a session that waits for permits: some were released
--
-- Fields of the HASH. Times are in seconds since 2017 on the pool's clock (see pool_state.lua).
--          g                        layout, origin, generation, version, offset, expires, sweep, scan, blocks, hold: see
--                                   pool_state.lua
--          i                        the last loss of state: see pool_state.lua
--          w, q, s:SESSION, n:N     sessions: see pool_session.lua
--          l                        limits that rule in place of configured ones: see pool_limits.lua
--          v                        the round of round robin
--          y                        tenants: see pool_tenant.lua
--          c                        cursor of the scan, number of unreadable fields found
--          t:COUNTER                a counter: see pool_counter.lua. COUNTER is ACCOUNT:LIMIT, k:KEY:LIMIT or :LIMIT
--          BLOCK                    until when, kind, reason: see pool_block.lua
--          h:ACCOUNT                permits taken by all sessions, until when no call can use the account
--          d:ACCOUNT                adaptive number of permits: as write_adaptive writes it
--          r:ACCOUNT:GROUP:KEY      next key, the target's round of round robin, when that was written; KEY is empty where
--                                   targets are accounts
--
-- Settlements are steps, not state, and take effect once. If the outcome of a call is unknown, the session's next call
-- repeats its settlements after 'unless'. The seq of the session's last call that ran then decides, because calls are
-- ordered and a late one is stale.
--
-- Lost writes: a session that has seen state that is lost gets LOST once. It then reports what it knows: 'booked',
-- 'used', and blocks.
--
-- Turns: where several sessions wait for limits, each booked call moves its session's turn ahead by what the call
-- takes of the pool, times the number of those sessions. While a session's turn lies within the horizon, or within
-- four times as far as a call may be booked if that is more, it books as far ahead as its demands say. Beyond, it has
-- had more than its share and books an eighth of the horizon ahead: it gets what the others leave, but never before
-- them. So what low-priority work took isn't held against a session's urgent calls, but what urgent calls take is held
-- against its low-priority work.
--
-- Expects core.lua and semaphore_adaptive.lua. Leaves the
-- arguments; limits and groups; arg and num, which return the next argument.

-- lazily makes the functions of a table when one of them is first called. Most calls need few functions, and making all
-- would take a quarter of their time.
local function lazily(module, make)
  setmetatable(module, { __index = function(_, name)
    setmetatable(module, nil)
    make()
    return rawget(module, name)
  end })
end

local call = {
  LAYOUT = 0, PERMITS = 0, COOLDOWN = 0, DISABLED = 0, NONE = 0, EXCLUDED = 0, session = 0, ttl = 0, horizon = 0,
  strategy = 0, account_list = 0, permits_limited = 0, adaptive = 0, wall = 0, seq = 0, known_origin = 0,
  known_generation = 0, known_version = 0, known_seq = 0, known_sessions = 0
}

call.LAYOUT = 2
call.PERMITS, call.COOLDOWN, call.DISABLED, call.NONE, call.EXCLUDED = -1, -2, -3, -4, -5 -- values of binding

-- read_parameters reads how the numbers of permits adapt.
local function read_parameters(text)
  local p = {}
  for number in string.gmatch(text, '%S+') do
    p[#p + 1] = number + 0
  end
  return {
    gradient = p[1] == 1, min = p[2], initial = p[3], backoff = p[4], every = p[5], tolerance = p[6], smoothing = p[7],
    queue = p[8],
  }
end

call.session, call.ttl, call.horizon, call.strategy = ARGV[1], ARGV[2] + 0, ARGV[3] + 0, ARGV[4]
call.account_list, call.permits_limited = ARGV[6], ARGV[6] ~= ''
call.wall, call.seq = wall, ARGV[10] + 0
if ARGV[9] + 0 > 0 and call.wall > ARGV[9] / 1000000 then
  return { err = 'LATE the call reached Redis after its deadline' }
end
call.known_origin, call.known_generation, call.known_version = ARGV[11] + 0, ARGV[12] + 0, ARGV[13] + 0
call.known_seq, call.known_sessions = ARGV[14] + 0, ARGV[15] + 0
call.adaptive = ARGV[7] ~= '' and read_parameters(ARGV[7])
local metrics, reported_held = ARGV[5] + 0, ARGV[16]

local argi, argv = 16, ARGV
local function arg()
  argi = argi + 1
  return argv[argi]
end
local function num() -- adding 0 makes a number of text at a third of what tonumber costs
  argi = argi + 1
  return argv[argi] + 0
end

-- Tables with many fields are made in one go, so that they needn't grow: most of what a call costs is the making of
-- tables, strings and functions.
local limits = {}
for i = 1, num() do
  local scope = argv[argi + 3]
  limits[i] = {
    index = argv[argi + 1] + 0, tail = ':' .. argv[argi + 2], scope = scope, head = scope == 'key' and 't:k:' or 't:',
    metric = argv[argi + 4] + 0, interval = argv[argi + 5] + 0, burst = argv[argi + 6] + 0, limit = argv[argi + 7] + 0,
    grows = argv[argi + 8] == '1', ends = argv[argi + 9] + 0, period = argv[argi + 10] + 0,
  }
  argi = argi + 10
end

local groups = {}
for i = 1, num() do
  local group = { name = arg(), limits = {}, shared = false, grows = false, differ = false, targets = {}, candidates = false, whole = false, size = 0,
    text = '', first = 0 }
  for n = 1, num() do
    local limit = limits[num()]
    group.limits[n] = limit
    group.grows = group.grows or limit.grows
  end
  group.size, group.text = num(), arg()
  group.first = argi + 1 -- where the number of targets stands that the demands look at first
  argi = group.first + argv[group.first]
  groups[i] = group
end
