-- Part of the pool's script: the common call, in a straight line. It is one demand for one call that some candidate can
-- serve at once, in a pool where nothing is blocked, adapted or waited for. It writes and replies what the other parts
-- would. Where a condition doesn't hold, it has written nothing, and the other parts run. It takes half of their time,
-- because most of what they cost is the making of functions and tables.
--
-- Expects core.lua. The arguments and fields are described in pool.lua. Leaves wall, Redis' time; known_names and
-- known_values, the fields that it has read.

local wall, known_names, known_values = server_now(ARGV[8]), {}, {}

-- single_demand finds the parts of the arguments: how many limits there are, the positions of the group's name, of the
-- number of targets and of the demand, and the version of the limits that the process follows, or nothing. It returns
-- nothing where the call is of another kind.
local function single_demand(argv)
  local limits = argv[17] + 0
  local group = 19 + 10 * limits
  if argv[4] == 'round_robin' or argv[7] ~= '' or argv[group - 1] ~= '1' or argv[group + 1] ~= argv[17] then
    return nil
  end
  for i = 1, limits do
    if argv[group + 1 + i] + 0 ~= i or argv[16 + 10 * i] ~= '0' then -- in another order, or a daily count
      return nil
    end
  end
  local size = group + limits + 2
  local reports = size + 3 + argv[size + 2]
  local follows, demands
  if argv[reports] == '1' and argv[reports + 1] == 'limits' and argv[reports + 3] == '' then
    follows, demands = argv[reports + 2], reports + 4
  elseif argv[reports] == '0' then
    demands = reports + 1
  end
  if not demands or argv[demands] ~= '1' or argv[demands + 1] ~= '1' or argv[demands + 5] ~= '0' then
    return nil
  end
  return limits, group, size, demands + 1, follows
end

-- single_candidates returns the demand's candidates, and adds the names of their fields to those that are read. It returns
-- nothing where one is closed, or has limits of its own.
local function single_candidates(argv, limits, group, size, demand, permits_limited)
  local names, n, list = known_names, #known_names, {}
  for i = 1, argv[demand + 5] + 0 do
    local number, account, permits, weight, per_key, keys =
      string.match(argv[size + 2 + argv[demand + 5 + i]], '^(%d+) (%S+) (%d+) (%d+) (%d) (%S+)$')
    if not keys then
      return nil
    end
    local target = { number = number - 1, account = account, permits = permits + 0, weight = weight + 0, keys = keys,
      first = n, turn = false, field = 0 }
    list[i] = target
    for at = 19, 9 + 10 * limits, 10 do
      local scope = argv[at + 1]
      n = n + 1
      names[n] = (scope == 'account' and 't:' .. account or scope == 'key' and 't:k:' .. keys or 't:') .. ':' .. argv[at]
    end
    if string.find(keys, ',', 1, true) then
      n = n + 1
      names[n] = 'r:' .. account .. ':' .. argv[group] .. ':' .. (per_key == '1' and keys or '')
      target.turn = n
    end
    if permits_limited then
      n = n + 1
      names[n] = 'h:' .. account
      target.field = n
    end
  end
  return list
end

-- single_state returns the state's parts, as the header g, the sums w and the session's field have them, if nothing is due
-- and nothing waits.
local function single_state(argv, header, sums, own)
  local origin, generation, version, offset, expires, sweep_at, scan_at, blocks_until, hold = string.match(header or '',
    '^2 (%d+) (%d+) (%d+) (%d+%.?%d*) (%d+%.?%d*) (%d+%.?%d*) (%d+%.?%d*) (%d+%.?%d*) (%d+%.?%d*)$')
  local alive, holders, last = string.match(sums or '', '^(%d+) 0 (%d+) 0 0 (%d+ %d+)$')
  local ends, ran, turn, sum, held = string.match(own or '', '^(%d+%.?%d*) (%d+) %d+ 0 0 0 0 (%d+%.?%d*) (%d+) (%S*)$')
  if not (hold and last and held) then
    return nil
  end
  local now = wall + offset
  if version / 1000000 - now > 0.001 or now >= sweep_at + 0 or now >= scan_at + 0 or blocks_until + 0 > now or hold + 0 > now
    or ends + 0 <= now or ran + 0 >= argv[10] + 0 then
    return nil
  elseif argv[11] ~= '0' and (argv[11] ~= origin or argv[12] ~= generation or argv[13] + 0 > version + 0
    or argv[14] + 0 > ran + 0) then
    return nil -- state was lost
  end
  return now, origin, generation, version + 0, expires + 0, alive + 0, holders + 0, last, turn + 0, sum + 0, held
end

-- single_send_at returns the earliest time at which a target could serve the call, perhaps in the past; nothing where a
-- counter isn't one as configured, or grows.
local function single_send_at(argv, target, limits, costs)
  local send_at, at = 0, target.first
  for l = 19, 9 + 10 * limits, 10 do
    local cost, burst, tat = argv[costs + argv[l + 2]] + 0, argv[l + 4] + 0, 0
    at = at + 1
    local text = known_values[at]
    if text then
      tat = tonumber(text)
      if not tat or tat - tat ~= 0 then
        return nil
      end
    end
    if cost > 0 then
      local its = tat + (cost - burst) * argv[l + 3]
      if its > send_at then
        send_at = its
      end
      if cost > burst and argv[l + 6] == '1' then
        return nil
      end
    end
  end
  return send_at
end

-- single_accounts returns the accounts that the candidates, this session's last report or this one name, in that order:
-- permits that this session held and holds, that other sessions hold, and the field as it was. It returns nothing where an
-- account can't be used, or a field can't be read.
local function single_accounts(argv, list, was_held, now)
  local accounts, missing, by_name = {}, {}, {}
  local function note(name, text)
    local account = { name = name, before = 0, held = 0, others = 0, was = 0, idle = '0', text = text }
    by_name[name] = account
    accounts[#accounts + 1] = account
    if text == nil then
      missing[#missing + 1] = 'h:' .. name
    end
    return account
  end
  for i = 1, #list do
    if not by_name[list[i].account] then -- keys of one account may be targets of their own
      note(list[i].account, known_values[list[i].field])
    end
  end
  for name, n in string.gmatch(argv[16], '([^=,]+)=(%d+)') do
    local account = by_name[name] or note(name)
    account.held = n + 0
  end
  for name, n in string.gmatch(was_held, '([^=,]+)=(%d+)') do
    local account = by_name[name] or note(name)
    account.before = n + 0
  end
  local more = #missing > 0 and redis.call('HMGET', KEYS[1], unpack(missing))
  local next_missing = 1
  for i = 1, #accounts do
    local account = accounts[i]
    local text = account.text
    if text == nil then
      text = more[next_missing]
      next_missing = next_missing + 1
    end
    if text then
      local taken, idle = string.match(text, '^(%d+) (%d+%.?%d*)$')
      if not idle or idle + 0 > now then
        return nil
      end
      account.was, account.idle = taken + 0, idle
      account.others = math.max(0, taken - account.before)
    end
  end
  return accounts, by_name
end

-- single_choice returns the candidate that serves the call at once, as choose_target does; nothing where there is none, or
-- an account's use has to be noted. by_name is nil where the pool has no limit of permits.
local function single_choice(argv, list, limits, size, demand, now, by_name)
  local costs, reach, horizon = demand + 5 + argv[demand + 5], argv[demand + 2] / 1000000, argv[3] + 0
  local preferred, in_order, whole = argv[demand + 3] - 1, argv[4] == 'first_available', #list == argv[size] + 0
  local chosen, its_rank
  for i = 1, #list do
    local target = list[i]
    local send_at = single_send_at(argv, target, limits, costs)
    if not send_at or by_name and whole and send_at - now > 2 * horizon then
      return nil
    end
    local account = by_name and by_name[target.account]
    if not account or account.others + account.held < target.permits then
      local rest = now - send_at
      if target.number == preferred and rest >= 0 then
        return target
      elseif target.number == preferred and -rest <= reach then
        return nil
      elseif rest >= 0 then
        local rank = in_order and target.number - 1e9 or (rest > 3600 and -3600 or -rest) * target.weight
        if not chosen or rank < its_rank then
          chosen, its_rank = target, rank
        end
      end
    end
  end
  return chosen
end

-- single_charge appends the counters that the call charges to the fields to write. It returns until when they are needed.
local function single_charge(argv, target, limits, demand, now, puts)
  local costs, at, needed = demand + 5 + argv[demand + 5], target.first, 0
  for l = 19, 9 + 10 * limits, 10 do
    local cost, interval = argv[costs + argv[l + 2]] + 0, argv[l + 3] + 0
    at = at + 1
    if cost > 0 then
      local tat = known_values[at] and known_values[at] + 0 or 0
      if tat < now then
        tat = now
      end
      tat = tat + cost * interval
      puts[#puts + 1], puts[#puts + 2] = known_names[at], string.format('%.17g', tat)
      needed = math.max(needed, tat + argv[l + 5] * interval)
    end
  end
  return needed
end

-- single_key returns which key of the target is next, and appends the round robin's field; nothing where the field has more.
local function single_key(target, now, puts)
  if not target.turn then
    return 0
  end
  local cursor = string.match(known_values[target.turn] or '0 0 0', '^(%d+) 0 %d+$')
  if not cursor then
    return nil
  end
  local _, commas = string.gsub(target.keys, ',', '')
  puts[#puts + 1], puts[#puts + 2] = known_names[target.turn], string.format('%d 0 %.0f', (cursor + 1) % 1000000, now)
  return cursor % (commas + 1)
end

-- single_held appends the fields of accounts whose permits have changed, and returns what the session holds, as text.
local function single_held(accounts, puts)
  local held, sum = {}, 0
  for i = 1, #accounts do
    local account = accounts[i]
    if account.held > 0 then
      held[#held + 1] = account.name .. '=' .. string.format('%d', account.held)
      sum = sum + account.held
    end
    local taken = account.others + account.held
    if taken ~= account.was and (account.held > 0 or account.before > 0) then
      puts[#puts + 1], puts[#puts + 2] = 'h:' .. account.name, string.format('%d %s', taken, account.idle)
    end
  end
  return table.concat(held, ','), sum
end

-- single admits the call and returns the reply, or nothing.
local function single(argv)
  if argv[9] ~= '0' and wall > argv[9] / 1000000 then
    return nil
  end
  local limits, group, size, demand, follows = single_demand(argv)
  if not limits then
    return nil
  end
  local permits_limited = argv[6] ~= ''
  known_names[1], known_names[2], known_names[3], known_names[4] = 'g', 'w', 's:' .. argv[1], 'l'
  local list = single_candidates(argv, limits, group, size, demand, permits_limited)
  if not list then
    return nil
  end
  known_values = redis.call('HMGET', KEYS[1], unpack(known_names))
  local now, origin, generation, version, expires, alive, holders, last, turn, sum, was_held =
    single_state(argv, known_values[1], known_values[2], known_values[3])
  local ruling = known_values[4] and string.match(known_values[4], '^(%d+) ') or nil
  if not now or not permits_limited and sum > 0 or ruling ~= follows then
    return nil
  end
  local accounts, by_name
  if permits_limited then
    accounts, by_name = single_accounts(argv, list, was_held, now)
    if not accounts then
      return nil
    end
  end
  local target = single_choice(argv, list, limits, size, demand, now, by_name)
  if not target then
    return nil
  end
  local puts = {}
  local key, needed = single_key(target, now, puts), single_charge(argv, target, limits, demand, now, puts)
  local held, new_sum = '', 0
  if permits_limited then
    by_name[target.account].held = by_name[target.account].held + 1
    held, new_sum = single_held(accounts, puts)
  end
  local ends = now + (new_sum > 0 and argv[2] or 900)
  if not key or math.max(needed, ends, follows and now + 30 * 86400 or 0) > expires then
    return nil
  end
  local old_version = version
  version = math.max(version + 1, math.floor(now * 1000000))
  local n = #puts
  puts[n + 1], puts[n + 2] = known_names[3], string.format('%.17g %s %.0f 0 0 0 0 %.17g %d %s', ends, argv[10], version,
    math.max(now, turn), new_sum, held)
  puts[n + 3], puts[n + 4] = 'g', string.format('2 %s %s %.0f %s', origin, generation, version,
    string.sub(known_values[1], 6 + #origin + #generation + #string.format('%.0f', old_version)))
  local change = (new_sum > 0 and 1 or 0) - (sum > 0 and 1 or 0)
  if change ~= 0 then
    puts[n + 5], puts[n + 6] = 'w', string.format('%d 0 %d 0 0 %s', alive + change, holders + change, last)
  end
  redis.call('HSET', KEYS[1], unpack(puts))
  return { math.floor(wall * 1000000 + 0.5), origin + 0, generation + 0, version, alive + change, -1, 0, -4, 0, 0, 0, 0, 0,
    1, -4, target.number, key, 1, 0 }
end

do
  local reply = single(ARGV)
  if reply then
    return reply
  end
  if #known_values == 0 then
    known_names = {}
  end
end
