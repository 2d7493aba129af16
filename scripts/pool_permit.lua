-- Part of the pool's script: permits.
--
-- Expects pool.lua (accounts, concurrency, adaptive, others, held_before, field, put) and pool_report.lua (held_here);
-- semaphore_adaptive.lua.
-- Leaves account.permits and account.taken; free, the permits that no session holds; set_aside, the part of them that other
-- sessions have a claim to; fair_share; permit_waiters, the sessions with such a claim; given_back, the permits that this
-- session returned, if a session waits for them; room.

-- sum_held returns the sum of a list ACCOUNT=held,… and calls each, if given, for its elements.
local function sum_held(held, each)
  local sum = 0
  for name, n in string.gmatch(held, '([^=,]+)=(%d+)') do
    n = tonumber(n)
    sum = sum + n
    if each then
      each(name, n)
    end
  end
  return sum
end

local by_name -- accounts
local function taken_by_another(name, n)
  if not by_name then
    by_name = {}
    for i = 1, #accounts do
      by_name[accounts[i].name] = accounts[i]
    end
  end
  if by_name[name] then
    by_name[name].taken = by_name[name].taken + n
  end
end

-- Seconds for which an adaptive number of permits is kept after its last sample.
local KEEP_ADAPTIVE = 600

-- adapted returns an account's adaptive number of permits, after this session's samples. account.taken must be complete.
local function adapted(account)
  local name, samples = 'd:' .. account.name, account.samples
  local state = read_adaptive(field[name])
  if samples then
    local initial = adaptive.initial
    if samples.first > 0 then
      adaptive.initial = math.max(adaptive.min, samples.first)
    end
    local used = account.taken - account.held + math.max(account.held, samples.peak)
    state = adapt(state, adaptive, samples.ok, samples.dropped, samples.total, used, concurrency, now * 1000000)
    adaptive.initial = initial
    put(name, write_adaptive(state), now + KEEP_ADAPTIVE)
  end
  return math.min(concurrency, math.floor(state and state.limit or adaptive.initial))
end

local contenders, permit_waiters, free, set_aside, fair_share = 1, {}, 0, 0, 0
if concurrency > 0 then
  for i = 1, #others do
    local other = others[i]
    if other.held ~= '' then
      other.sum = sum_held(other.held, taken_by_another)
    end
    if other.waiting_for_permits > 0 or other.sum > 0 then
      contenders = contenders + 1
    end
  end
  local all = 0
  for i = 1, #accounts do
    local account = accounts[i]
    account.permits = adaptive and adapted(account) or concurrency
    all = all + account.permits
    free = free + math.max(0, account.permits - account.taken)
  end
  fair_share = math.ceil(all / contenders)
end
for i = 1, #others do
  local other = others[i]
  if other.waiting_for_permits > 0 and other.sum < fair_share then
    set_aside = set_aside + math.min(other.waiting_for_permits, fair_share - other.sum)
    permit_waiters[#permit_waiters + 1] = other
  end
end
-- permits that this session returned; 0 if no session waits for them
local given_back = #permit_waiters > 0 and sum_held(held_before) - held_here or 0

-- room returns how many permits this session may take now, over all accounts.
local function room()
  return concurrency == 0 and math.huge or math.max(fair_share - held_here, free - set_aside)
end
