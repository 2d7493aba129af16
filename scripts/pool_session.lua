-- Part of the pool's script: sessions.
--
-- Field s:SESSION: when its lease ends, or without permits and waiting calls, when the field expires; seq and version
-- of its last call; calls waiting; permits that it waits for; permits set aside for it; its ticket, or 0; its turn;
-- permits held; ACCOUNT=n,… of these.
--
-- Field w has sums over sessions, so that a call needn't read them all: sessions with a lease; those with calls that
-- wait for limits; those that hold permits or wait for some; those with a ticket; permits set aside; the first ticket
-- that may be there, and the last one that was given. Field q lists all sessions, and n:N the one with ticket N.
--
-- A sweep reads all sessions, ends leases that are over, and recomputes the sums. It is due when a lease may have
-- ended, and once a TTL.
--
-- Expects pool_state.lua. Leaves sums, those of other sessions; others_of, permits that they hold of an account; the
-- error LOST ends the script here.

local sessions = {
  sums = 0, write_session = 0, held_before = 0, read_taken = 0, others_of = 0
}

local function add(session_read, sign)
  local s = session_read
  if s.waiting > 0 or s.sum > 0 then
    sessions.sums.sessions = sessions.sums.sessions + sign
  end
  if s.waiting > s.want_permits then
    sessions.sums.waiting = sessions.sums.waiting + sign
  end
  if s.want_permits > 0 or s.sum > 0 then
    sessions.sums.contenders = sessions.sums.contenders + sign
  end
  if s.ticket > 0 then
    sessions.sums.queue = sessions.sums.queue + sign
  end
  sessions.sums.set_aside = sessions.sums.set_aside + sign * s.set_aside
end

-- What is done once a TTL.
lazily(sessions, function()
  -- end_lease takes a session's permits back. Its field stays, for the seq.
  function sessions.end_lease(name, s)
    if s.ticket > 0 then
      hash.drop(string.format('n:%.0f', s.ticket))
    end
    targets.parse_held(s.held, function(account)
      targets.account_of(account)
    end)
    s.ends, s.waiting, s.want_permits, s.set_aside, s.ticket, s.sum, s.held = state.now + state.KEEP, 0, 0, 0, 0, 0, ''
    sessions.write_session(name, s)
  end

  function sessions.sweep()
    local ids, seen, list = {}, { [call.session] = true }, hash.get('q') or ''
    for id in string.gmatch(list, '%S+') do
      if not seen[id] then
        seen[id] = true
        ids[#ids + 1] = id
        hash.want('s:' .. id)
      end
    end
    hash.fetch()
    sessions.sums.sessions, sessions.sums.waiting, sessions.sums.contenders, sessions.sums.queue,
      sessions.sums.set_aside = 0, 0, 0, 0, 0
    state.sweep_at = state.now + call.ttl
    local taken, alive = {}, state.own and { call.session } or {}
    local function take(name, n)
      targets.account_of(name)
      taken[name] = (taken[name] or 0) + n
    end
    for i = 1, #ids do
      local name = 's:' .. ids[i]
      local s = state.read_session(name)
      local leased = s and (s.waiting > 0 or s.sum > 0)
      if s and s.ends <= state.now then
        if leased then
          sessions.end_lease(name, s)
          alive[#alive + 1] = ids[i]
        else
          hash.drop(name)
        end
      elseif s then
        alive[#alive + 1] = ids[i]
        if leased then
          state.sweep_at = math.min(state.sweep_at, s.ends)
          add(s, 1)
          targets.parse_held(s.held, take)
        end
      end
    end
    state.sweep_at = math.max(state.sweep_at, state.now + call.ttl / 100)
    for name in string.gmatch(call.account_list, '([^=,]+)=') do
      targets.account_of(name)
    end
    for i = 1, #targets.account_names do
      hash.want('h:' .. targets.account_names[i])
    end
    hash.fetch()
    for i = 1, #targets.account_names do
      local account = targets.accounts[targets.account_names[i]]
      sessions.read_taken(account)
      account.others = taken[account.name] or 0
    end
    hash.put('q', table.concat(alive, ' ') .. ' ', state.now)
  end
end)

local function read_sums()
  local a, b, c, d, e, f, h = 0, 0, 0, 0, 0, 1, 0
  if hash.field.w then
    a, b, c, d, e, f, h = string.match(hash.field.w, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
    if not h then
      hash.broken('w')
      a, b, c, d, e, f, h = 0, 0, 0, 0, 0, 1, 0
      state.sweep_at = 0
    end
  end
  sessions.sums = {
    sessions = a + 0, waiting = b + 0, contenders = c + 0, queue = d + 0, set_aside = e + 0, first = f + 0, last = h + 0,
  }
end
read_sums()

function sessions.write_session(name, s)
  hash.put(name, string.format('%.17g %d %.0f %d %d %d %d %.17g %d %s', s.ends, s.seq, s.version, s.waiting,
    s.want_permits, s.set_aside, s.ticket, s.turn, s.sum, s.held), s.ends)
end

sessions.held_before = {} -- by account
if state.own then
  add(state.own, -1)
  targets.parse_held(state.own.held, function(name, n)
    sessions.held_before[name] = n
    hash.want('h:' .. name)
  end)
  hash.fetch()
end

local lost = call.known_origin > 0
  and not (call.known_origin == state.origin and call.known_generation == state.generation
    and call.known_version <= state.version and call.known_seq <= state.ran) and state.find_loss()
if lost then
  state.begin_generation(lost, sessions.sums.sessions + 1)
  return { err = 'LOST ' .. lost .. ' of the state that this session knew' }
end
if state.origin == 0 then
  state.origin = math.max(1, math.floor(state.now * 1000000))
  state.generation, state.sweep_at = state.origin, state.now + call.ttl
end

-- read_taken reads an account's field: how many permits other sessions hold, and until when it can't be used.
function sessions.read_taken(account)
  local text, taken, idle = hash.get('h:' .. account.name), 0, 0
  if text then
    taken, idle = string.match(text, '^(%d+) (%d+%.?%d*)$')
    if not idle then
      hash.broken('h:' .. account.name)
      taken, idle, state.sweep_at = 0, 0, 0
    end
    taken, idle = taken + 0, idle + 0
  end
  account.others, account.idle = math.max(0, taken - (sessions.held_before[account.name] or 0)), idle
  account.was_taken, account.was_idle = taken, idle
end

-- others_of returns how many permits other sessions hold of an account.
function sessions.others_of(account)
  if not account.others then
    sessions.read_taken(account)
  end
  return account.others
end

if state.origin > 0 and state.now >= state.sweep_at then
  sessions.sweep()
end
if not state.own then
  hash.put('q', (hash.get('q') or '') .. call.session .. ' ', state.now)
end
if state.hold > state.now then
  local loss = state.read_loss()
  if not state.own or state.own.version <= loss.began then
    loss.called = loss.called + 1
    state.write_loss(loss)
    if loss.called >= loss.expected then
      state.hold = 0
    end
  end
end
