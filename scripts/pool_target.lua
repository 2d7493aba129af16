-- Part of the pool's script: targets and accounts, as the process describes them. The state of those that the demands
-- look at first is read here, with one command.
--
-- Expects pool.lua and pool_field.lua. Leaves account_of, targets_of, key_names; held, this session's permits by
-- account; and the fields of the state that the rest of the script begins with.

local targets = {
  accounts = 0, account_names = 0, account_of = 0, add_target = 0, own_limits = 0, key_names = 0, parse_held = 0, own_field = 0,
  held_here = 0, share = 0, ramped = 0
}

targets.accounts, targets.account_names = {}, {}
targets.share = 1 -- of the rates of all limits but counts, while the pool is young

-- ramped gives a limit the share of its rate. A burst of more than a quarter of the limit, as of a bucket, is cut likewise.
function targets.ramped(l)
  if l.ends == 0 and targets.share < 1 then
    l.interval = l.interval / targets.share
    if l.burst > l.limit / 4 then
      l.burst = math.max(1, math.floor(l.burst * targets.share))
    end
  end
  return l
end

-- account_of returns an account. permits is how many it may have; nil: unknown to this process.
function targets.account_of(name, permits)
  local account = targets.accounts[name]
  if not account then
    account = { name = name, most = permits or 0, permits = 0, held = 0, others = false, idle = 0, samples = false,
      ready = false, taken = 0, was_taken = 0, was_idle = 0 }
    targets.accounts[name] = account
    targets.account_names[#targets.account_names + 1] = name
  elseif permits then
    account.most = permits
  end
  return account
end

-- own_limits returns a model group's limits as an account has them.
function targets.own_limits(group, text)
  local own = {}
  for i, l in ipairs(group.limits) do
    own[i] = l
  end
  for i, what in string.gmatch(text, '(%d+)=([^,]+)') do
    local l = own[i + 0]
    if what == '-' then
      own[i + 0] = { index = call.NONE, scope = false, grows = false, ends = 0 }
    else
      local index, interval, burst, limit, grows, ends, period =
        string.match(what, '^(%d+)/([^/]+)/(%d+)/(%d+)/(%d)/([^/]+)/([^/]+)$')
      own[i + 0] = targets.ramped({
        index = index + 0, tail = l.tail, scope = l.scope, head = l.head, metric = l.metric, interval = interval + 0,
        burst = burst + 0, limit = limit + 0, grows = grows == '1', ends = ends + 0, period = period + 0,
      })
    end
  end
  group.differ = true
  return own
end

function targets.add_target(group, text)
  local number, name, permits, weight, per_key, keys, own =
    string.match(text, '^(%d+) (%S+) (%d+) (%d+) (%d) (%S*) ?(%S*)$')
  number = number + 0
  local target = group.targets[number]
  if target then
    return target
  end
  -- Sixteen fields take half the room of seventeen. Others, such as reserved and usable, are absent at first.
  target = {
    index = number - 1, account = targets.account_of(name, permits + 0), weight = weight + 0, keys = keys,
    limits = own == '' and group.limits or targets.own_limits(group, own), fields = { false, false, false, false },
    counters = false, used = 0, bookable_at = 0, send_at = 0, binding = call.NONE, rank = 0, closed = keys == '',
    disabled = keys == '', back = math.huge, turn = false,
  }
  if per_key == '1' then
    target.key = keys
  end
  group.targets[number] = target
  local its = target.limits
  for i = 1, #its do
    local l = its[i]
    local scope = l.scope
    group.shared = group.shared or scope == 'pool' or (per_key == '1' and scope == 'account')
    if scope then
      local name_of_field = l.head .. (scope == 'account' and name or scope == 'key' and keys or '') .. l.tail
      target.fields[i] = name_of_field
      hash.want(name_of_field)
    else
      target.fields[i] = false
    end
  end
  if string.find(keys, ',', 1, true) or call.strategy == 'round_robin' then
    target.turn = 'r:' .. name .. ':' .. group.name .. ':' .. (target.key or '')
    hash.want(target.turn)
  end
  if call.permits_limited then
    hash.want('h:' .. name)
    if call.adaptive then
      hash.want('d:' .. name)
    end
  end
  return target
end

-- key_names returns the names of a target's keys.
function targets.key_names(target)
  local all = target.names
  if not all then
    all = {}
    for name in string.gmatch(target.keys, '[^,]+') do
      all[#all + 1] = name
    end
    target.names = all
  end
  return all
end

-- parse_held calls f with each account and number in a text of held permits.
function targets.parse_held(text, f)
  for name, n in string.gmatch(text, '([^=,]+)=(%d+)') do
    f(name, n + 0)
  end
end

targets.own_field = 's:' .. call.session
hash.want('g')
hash.want('w')
hash.want('l')
hash.want(targets.own_field)
if call.strategy == 'round_robin' then
  hash.want('v')
end
for i = 1, #groups do
  local group = groups[i]
  group.candidates = {}
  for k = 1, argv[group.first] + 0 do
    group.candidates[k] = targets.add_target(group, argv[group.first + k])
  end
  group.whole = #group.candidates == group.size
end
targets.held_here = 0 -- permits of this session
if call.permits_limited then
  targets.parse_held(reported_held, function(name, n)
    targets.account_of(name).held = n
    targets.held_here = targets.held_here + n
    hash.want('h:' .. name)
  end)
end
local sum_reported = targets.held_here -- before this call admits any
hash.fetch()
