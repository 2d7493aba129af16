-- Admits calls to a pool of API keys: picks a key, charges every limit of its account and takes a permit, all or
-- nothing, for many calls of one process at once; takes in what the process reports. Stands behind core.lua.
--
-- KEYS[1]  the pool's HASH
--
-- ARGV     now         test override of Redis' time (seconds since 2017), or empty
--          deadline    do nothing after this time (seconds since 2017); 0: none
--          session     this process's session
--          seq         grows with every call of the session; an older one does nothing
--          ttl         seconds until the session ends unless it calls again
--          horizon     seconds ahead that a place may be booked
--          L, then L × limit name, interval (seconds per unit), burst (units)
--          A, then A × account name, permits (0: no limit), held by this session, K, then K × key name
--          R, then R × 'key' or 'account', name, seconds from now, 'cool' or 'off', reason
--          G, then G × number of equal calls, then their cost on each of the L limits
--          All names without spaces, colons, commas or equal signs.
--
-- Reply    now         microseconds since 2017
--          wake        microseconds from now until it is worth asking again for what was not admitted; -1: nothing
--                      is left; -2: when a permit comes back, which only a poll tells
--          binding     what is in the way of the first call that was not admitted, else of the last one admitted:
--                      0..L-1 a limit, -1 permits, -2 a cooldown, -3 every key is disabled, -4 nothing
--          others      how many other sessions have calls waiting
--          reason      of a disabled key, where binding is -3; else empty
--          G × number of calls admitted; of equal calls the first ones are
--          then for each call admitted, in order: account (0..A-1), key (0..K-1), microseconds from now to its slot
-- Errors   LATE        the deadline has passed; nothing was done
--          STALE       a newer call of the session was here already; nothing was done
--
-- Fields of the HASH (times in seconds since 2017)
--          x                        when the HASH may expire
--          t:ACCOUNT:LIMIT          theoretical arrival time
--          r:ACCOUNT                which key is next
--          k:KEY, a:ACCOUNT         until when it isn't used, 'cool' or 'off', reason
--          s:SESSION                end, seq, calls waiting, turn, then ACCOUNT=held,…
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
  return tonumber(arg())
end

local now = server_now(arg())
local deadline = num()
if deadline > 0 and now > deadline then
  return { err = 'LATE the call reached Redis after its deadline' }
end

local session, seq, ttl, horizon = arg(), num(), num(), num()
local session_field = 's:' .. session

local field, changed, dead = {}, {}, {}
local function put(name, value)
  changed[#changed + 1] = name
  changed[#changed + 1] = value
end

-- read_state keeps the fields and hands those of sessions to on_session.
local function read_state(on_session)
  local state = redis.call('HGETALL', KEYS[1])
  for i = 1, #state, 2 do
    local name = state[i]
    if string.byte(name, 1) == 115 then
      on_session(name, state[i + 1])
    else
      field[name] = state[i + 1]
    end
  end
end

local turn, waiting, others = now, 0, {}
local stale = false
local function on_session(name, value)
  local ends, its_seq, want, its_turn, held = string.match(value, '^(%S+) (%S+) (%S+) (%S+) (.*)$')
  if name == session_field then
    stale = tonumber(its_seq) >= seq
    turn = math.max(now, tonumber(its_turn))
  elseif tonumber(ends) <= now then
    dead[#dead + 1] = name
  else
    want = tonumber(want)
    if want > 0 then
      waiting = waiting + 1
    end
    others[#others + 1] = { want = want, held = held, sum = 0 }
  end
end
read_state(on_session)
if stale then
  return { err = 'STALE a newer call of this session was here before' }
end

local limits = {}
for m = 1, num() do
  limits[m] = { name = arg(), interval = num(), burst = num() }
end

local expires = tonumber(field.x or '0')
local function keep_until(time)
  if time > expires then
    expires = time
  end
end

-- read_block returns until when a key or account isn't used, and whether it is disabled, not just cooling down.
local function read_block(name)
  local value = field[name]
  if not value then
    return 0, false, ''
  end
  local till, kind, reason = string.match(value, '^(%S+) (%S+) (.*)$')
  till = tonumber(till)
  if till <= now then
    dead[#dead + 1] = name
    return 0, false, ''
  end
  return till, kind == 'off', reason
end

local accounts, index, capacity = {}, {}, 0
for i = 1, num() do
  local account = { index = i - 1, name = arg(), permits = num(), held = num(), keys = {}, key_names = {} }
  for k = 1, num() do
    account.key_names[k] = arg()
  end
  account.taken = account.held
  capacity = capacity + account.permits
  accounts[i], index[account.name] = account, account
end

for _ = 1, num() do
  local name = (arg() == 'key' and 'k:' or 'a:') .. arg()
  local till, kind, reason = now + num(), arg(), arg()
  local old, was_off = read_block(name)
  -- The later deadline wins, and a disabled key isn't turned into one that cools down.
  if till > now and (till > old or (kind == 'off' and not was_off)) then
    if was_off then
      kind = 'off'
    end
    local value = string.format('%.17g %s %s', math.max(till, old), kind, reason)
    field[name] = value
    put(name, value)
    keep_until(till)
  end
end

-- Permits: what other sessions hold, and what is set aside for those that wait and hold less than a fair share.
local held_here = 0
for _, account in ipairs(accounts) do
  held_here = held_here + account.held
end
local contenders = 1
if capacity > 0 then
  for _, other in ipairs(others) do
    for name, held in string.gmatch(other.held, '([^=,]+)=(%d+)') do
      held = tonumber(held)
      other.sum = other.sum + held
      if index[name] then
        index[name].taken = index[name].taken + held
      end
    end
    if other.want > 0 or other.sum > 0 then
      contenders = contenders + 1
    end
  end
end
local fair_share = math.ceil(capacity / contenders)
local set_aside, free = 0, 0
for _, other in ipairs(others) do
  if other.want > 0 and other.sum < fair_share then
    set_aside = set_aside + math.min(other.want, fair_share - other.sum)
  end
end
for _, account in ipairs(accounts) do
  free = free + math.max(0, account.permits - account.taken)
end

local function may_take_permit(account)
  if account.permits == 0 then
    return true
  end
  return account.taken < account.permits and (held_here < fair_share or free > set_aside)
end

-- Usable accounts: those with a key that isn't blocked.
local usable, first_return, off_reason, all_off = {}, math.huge, '', true
for _, account in ipairs(accounts) do
  local till, off, why = read_block('a:' .. account.name)
  local earliest = math.huge
  for k, name in ipairs(account.key_names) do
    local key_till, key_off, key_why = read_block('k:' .. name)
    if off or key_off then
      off_reason = key_off and key_why or why
    else
      all_off = false
    end
    if key_till <= now then
      account.keys[#account.keys + 1] = k - 1
    end
    earliest = math.min(earliest, math.max(till, key_till))
  end
  first_return = math.min(first_return, earliest)
  if till <= now and #account.keys > 0 then
    usable[#usable + 1] = account
    account.cursor = tonumber(field['r:' .. account.name] or '0')
    account.tat = {}
    for m, limit in ipairs(limits) do
      account.tat[m] = tonumber(field['t:' .. account.name .. ':' .. limit.name] or '0')
    end
  end
end

-- price works out when an account could serve a call: from when a place may be booked, the same for every cost, so
-- that small calls don't starve large ones; and the slot itself. Both may lie in the past: the further, the more
-- headroom.
local function price(account, cost)
  account.opens, account.slot, account.binding = 0, 0, NONE
  for m, limit in ipairs(limits) do
    if cost[m] > 0 then
      local tat = account.tat[m]
      account.opens = gcra_slot(tat, account.opens, limit.interval, limit.burst, 1)
      local slot = gcra_slot(tat, 0, limit.interval, limit.burst, cost[m])
      if slot > account.slot then
        account.slot, account.binding = slot, m - 1
      end
    end
  end
end

-- best returns the account with the earliest slot that has a permit to give, and whether any lacked only that.
local function best()
  local chosen, no_permit
  for _, account in ipairs(usable) do
    if not account.claimed then
      if not may_take_permit(account) then
        no_permit = true
      elseif not chosen or account.slot < chosen.slot or (account.slot == chosen.slot and account.taken < chosen.taken) then
        chosen = account
      end
    end
  end
  return chosen, no_permit
end

local shares = waiting + 1
local grants, delayed = {}, NONE

local function charge(account, cost)
  local slot = math.max(now, account.slot)
  local takes = 0
  delayed = account.slot > now and account.binding or NONE
  for m, limit in ipairs(limits) do
    if cost[m] > 0 then
      account.tat[m] = gcra_charge(account.tat[m], slot, limit.interval, cost[m])
      takes = math.max(takes, limit.interval * cost[m])
    end
  end
  if shares > 1 then
    turn = math.min(turn + takes * shares / #usable, now + 2 * horizon)
  end
  account.charged = true
  account.held, account.taken, held_here = account.held + 1, account.taken + 1, held_here + 1
  if account.permits > 0 then
    free = free - 1
  end
  account.cursor = account.cursor + 1
  grants[#grants + 1] = account.index
  grants[#grants + 1] = account.keys[(account.cursor - 1) % #account.keys + 1]
  grants[#grants + 1] = math.ceil((slot - now) * 1000000)
end

local left, wake, binding = 0, math.huge, NONE
local function blocked(at, why)
  if binding == NONE then
    binding = why
  end
  wake = math.min(wake, math.max(0, at - now))
end

-- admit books up to n equal calls and returns how many it could not.
local function admit(n, cost)
  for _, account in ipairs(usable) do
    price(account, cost)
  end
  while n > 0 do
    local account, no_permit = best()
    if not account then
      if no_permit then
        blocked(math.huge, PERMITS)
      elseif #usable == 0 then
        blocked(first_return, all_off and DISABLED or COOLDOWN)
      end
      return n
    end
    local my_turn = shares == 1 or turn <= now + horizon
    local ahead = my_turn and horizon or horizon / 4
    if account.opens > now + ahead then
      -- First come, first served: nobody behind gets this account before.
      account.claimed = true
      local at = account.opens - ahead
      if not my_turn then
        at = math.min(at, math.max(turn, account.opens) - horizon)
      end
      blocked(at, account.binding)
      return n
    end
    charge(account, cost)
    price(account, cost)
    n = n - 1
  end
  return 0
end

local admitted = {}
for g = 1, num() do
  local n, cost = num(), {}
  for m = 1, #limits do
    cost[m] = num()
  end
  local over = admit(n, cost)
  left, admitted[g] = left + over, n - over
end

local held = {}
for _, account in ipairs(accounts) do
  if account.charged then
    for m, limit in ipairs(limits) do
      put('t:' .. account.name .. ':' .. limit.name, string.format('%.17g', account.tat[m]))
      keep_until(account.tat[m])
    end
    put('r:' .. account.name, string.format('%.0f', account.cursor % 1000000))
  end
  if account.held > 0 then
    held[#held + 1] = account.name .. '=' .. string.format('%.0f', account.held)
  end
end

if left > 0 or #held > 0 then
  put(session_field, string.format('%.17g %.0f %.0f %.17g %s', now + ttl, seq, left, turn, table.concat(held, ',')))
  keep_until(now + ttl)
elseif turn > now then
  -- An idle session is gone once its turn has come round again.
  put(session_field, string.format('%.17g %.0f 0 %.17g ', turn, seq, turn))
  keep_until(turn)
else
  dead[#dead + 1] = session_field
end
if #dead > 0 then
  redis.call('HDEL', KEYS[1], unpack(dead))
end
if #changed > 0 then
  put('x', string.format('%.17g', expires))
  redis.call('HSET', KEYS[1], unpack(changed))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((expires - now) * 1000) + 1000))
end

if binding == NONE then
  binding = delayed
end
if left == 0 then
  wake = -1
elseif wake == math.huge then
  wake = -2
else
  wake = math.ceil(wake * 1000000)
end
local reply = { math.floor(now * 1000000), wake, binding, waiting, binding == DISABLED and off_reason or '' }
for g = 1, #admitted do
  reply[#reply + 1] = admitted[g]
end
for i = 1, #grants do
  reply[#reply + 1] = grants[i]
end
return reply
