-- Last part of the pool's script: the new state, messages, and the reply.
--
-- Expects pool_scan.lua.

-- write_own writes this session's field, and the sums with it.
local function write_own()
  local want_permits = admission.binding == call.PERMITS and admission.left or admission.poll and 1 or 0
  local ticket = state.own and state.own.ticket >= sessions.sums.first and state.own.ticket or 0
  if want_permits == 0 and state.own and state.own.ticket > 0 then
    hash.drop(string.format('n:%.0f', state.own.ticket))
    ticket = 0
  elseif want_permits > 0 and ticket == 0 then
    sessions.sums.last = sessions.sums.last + 1
    ticket = sessions.sums.last
    hash.put(string.format('n:%.0f', ticket), call.session, state.now + call.ttl)
  end
  local held = {}
  for i = 1, targets.held_here > 0 and #targets.account_names or 0 do
    local account = targets.accounts[targets.account_names[i]]
    if account.held > 0 then
      held[#held + 1] = account.name .. '=' .. string.format('%d', account.held)
    end
  end
  local s = {
    ends = admission.left + targets.held_here > 0 and state.now + call.ttl or state.now + state.KEEP, seq = call.seq,
      waiting = admission.left, want_permits = want_permits,
    version = math.max(state.version + 1, math.floor(state.now * 1000000)), set_aside = 0, ticket = ticket, turn =
      admission.turn,
    sum = targets.held_here, held = table.concat(held, ','),
  }
  sessions.write_session(targets.own_field, s)
  add(s, 1)
  local text = string.format('%d %d %d %d %d %d %d', sessions.sums.sessions, sessions.sums.waiting,
    sessions.sums.contenders, sessions.sums.queue,
    sessions.sums.set_aside, sessions.sums.first, sessions.sums.last)
  if text ~= hash.field.w then
    hash.put('w', text, state.now)
  end
end

-- write_accounts writes the permits taken of each account whose number has changed.
local function write_accounts()
  for name in pairs(sessions.held_before) do
    targets.account_of(name)
  end
  for i = 1, #targets.account_names do
    local account = targets.accounts[targets.account_names[i]]
    if account.held > 0 or sessions.held_before[account.name] then
      sessions.others_of(account)
    end
    if account.others then
      local taken = account.others + account.held
      if taken ~= account.was_taken or account.idle ~= account.was_idle then
        hash.put('h:' .. account.name, string.format('%d %.17g', taken, account.idle), state.now)
      end
    end
  end
end

for i = 1, counting.n_charged do
  counter_write(counting.charged[i])
end
for i = 1, #turns do
  local its = turns[i]
  hash.put(its.field, string.format('%d %.17g %.0f', its.cursor % 1000000, its.round, state.now), state.now)
end
if admission.round > 0 then
  hash.put('v', string.format('%.17g', admission.round), state.now)
end
if call.permits_limited or next(sessions.held_before) then
  write_accounts()
end
if tenancy then
  tenancy.write()
end
write_own()
state.write_state()

local muted = 0
for i = 1, #permit.notified do
  -- The message is a hint, and where publishing isn't permitted, the writes before it stand.
  local answer = redis.pcall('PUBLISH', hash.key .. ':' .. permit.notified[i], '')
  if type(answer) == 'table' and answer.err then
    muted = 1
  end
end

if admission.binding == call.NONE then
  admission.binding = admission.delayed
end
if admission.left == 0 then
  admission.wake = -1
elseif admission.wake == math.huge then
  admission.wake = -2
else
  admission.wake = math.ceil(admission.wake * 1000000)
end
admission.reply[1], admission.reply[2], admission.reply[3], admission.reply[4] = math.floor(call.wall * 1000000
  + 0.5), state.origin, state.generation, state.version
admission.reply[5], admission.reply[6], admission.reply[7], admission.reply[8], admission.reply[9] =
  sessions.sums.sessions, admission.wake, admission.poll and 1 or 0, admission.binding, others_waiting
admission.reply[10], admission.reply[11], admission.reply[12], admission.reply[13] = hash.unreadable, report.refused,
  muted, #admission.reason
for i = 1, #admission.reason do
  admission.reply[admission.size + i] = string.byte(admission.reason, i)
end
return admission.reply
