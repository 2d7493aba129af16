-- Part of the pool's script: its clock, and lost writes.
--
-- Field g: layout; origin, when the HASH was made, and generation (microseconds); version; offset; until when the HASH
-- is kept; when sessions are to be swept (see pool_session.lua) and fields scanned (see pool_scan.lua); until when
-- there may be blocks; until when no new permits are granted.
--
-- The clock of a pool is Redis' time plus the offset. If it would run behind the last write, Redis' clock was set
-- back, and the offset grows by as much: for the pool the clock stood still. The version is the pool's time of the
-- last write, in microseconds, or one more than the version before. Daily counts alone use Redis' time.
--
-- Redis loses a suffix of its writes, or all. A call that is answered has written its session's field. So a session
-- that has seen lost state finds that field older than its last reply. The field of an idle session is kept for KEEP
-- seconds; then only the version tells. The first session that finds a loss makes a new generation, and sessions that
-- know another generation get LOST, too.
--
-- Field i, of the last loss: generation that survived in part, and the latest version that survived for certain; the
-- generation that was lost as a whole, or 0; version at which the new generation began; sessions that were known
-- before; sessions that have called since. Until all have, or for a third of the TTL, no new permits are granted,
-- because the permits of those that haven't called look free. A pool's first start is no loss.
--
-- Expects pool_target.lua. Leaves now, the pool's time; origin, generation, version; own, this session's field;
-- write_state.

local state = {
  KEEP = 0, now = 0, offset = 0, origin = 0, generation = 0, version = 0, expires = 0, sweep_at = 0, scan_at = 0,
  blocks_until = 0, hold = 0, read_session = 0, own = 0, ran = 0, SESSION = '',
  SPARE = 0, write_state = 0, begin = '', tail = '', was = false,
}

-- Lost writes.
lazily(state, function()
  function state.read_loss()
    local text = hash.get('i')
    if text then
      local a, b, c, d, e, f = hash.numbers(string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'))
      if f then
        return { survived = a, until_version = b, gone = c, began = d, expected = e, called = f }
      end
      hash.broken('i')
    end
    return { survived = 0, until_version = 0, gone = 0, began = 0, expected = 0, called = 0 }
  end

  function state.write_loss(loss)
    hash.put('i', string.format('%.0f %.0f %.0f %.0f %.0f %.0f', loss.survived, loss.until_version, loss.gone, loss.began,
      loss.expected, loss.called), state.now + state.KEEP)
  end

  -- find_loss returns what of the state is gone that this session has seen: 'all', 'some' or nothing.
  function state.find_loss()
    if call.known_origin == 0 then
      return nil
    elseif call.known_origin ~= state.origin then
      return 'all'
    elseif call.known_generation ~= state.generation then
      local loss = state.read_loss()
      return not (call.known_generation == loss.survived and call.known_version <= loss.until_version) and 'some'
    end
    local remembered = state.now - call.known_version / 1000000 < state.KEEP
    return (call.known_version > state.version or remembered and state.ran < call.known_seq) and 'some'
  end

  -- begin_generation records a loss that no session has found before.
  function state.begin_generation(what, alive)
    local loss = state.read_loss()
    if what == 'all' and loss.gone == call.known_generation or what == 'some'
      and call.known_generation < state.generation then
      return
    end
    loss.survived, loss.until_version, loss.gone = state.generation, state.own and state.own.version or 0, 0
    if what == 'all' then
      loss.until_version, loss.gone = state.version, call.known_generation
    end
    loss.began, loss.expected, loss.called = state.version, math.max(call.known_sessions, alive), 0
    state.generation = math.max(math.floor(state.now * 1000000), state.generation + 1, call.known_generation + 1)
    state.origin = state.origin > 0 and state.origin or state.generation - 1 -- equal after a first start alone
    state.hold = state.now + call.ttl / 3
    state.write_loss(loss)
    state.write_state()
  end
end)

state.KEEP = 900 -- seconds

-- Numbers in fields are text without signs and exponents, which adding 0 reads at a third of what tonumber costs.
local HEADER = '^2 (%d+) (%d+) (%d+) (%d+%.?%d*) (%d+%.?%d*) (%d+%.?%d*) (%d+%.?%d*) (%d+%.?%d*) (%d+%.?%d*)$'

-- read_header reads field g. It returns the number of another layout.
local function read_header(text)
  local a, b, c, d, e, f, h, i, j = string.match(text, HEADER)
  if a then
    state.origin, state.generation, state.version, state.offset = a + 0, b + 0, c + 0, d + 0
    state.expires, state.sweep_at, state.scan_at, state.blocks_until, state.hold = e + 0, f + 0, h + 0, i + 0, j + 0
    state.begin, state.tail = '2 ' .. a .. ' ' .. b .. ' ', string.sub(text, 6 + #a + #b + #c)
    state.was = {
      state.origin, state.generation, state.offset, state.expires, state.sweep_at, state.scan_at, state.blocks_until,
      state.hold,
    }
    return nil
  elseif string.find(text, '^%d+ %d+$') then
    return 1
  elseif string.find(text, '^%d+ ') then
    return tonumber(string.match(text, '^(%d+) '))
  end
  hash.broken('g')
end

if hash.field.g then
  local layout = read_header(hash.field.g)
  if layout and layout ~= call.LAYOUT then
    return { err = string.format('LAYOUT %d %d', layout, call.LAYOUT) }
  end
end
state.now = call.wall + state.offset
if state.version / 1000000 - state.now > 0.001 then
  state.now = state.version / 1000000
  state.offset = state.now - call.wall
end

state.SESSION = '^(%d+%.?%d*) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+%.?%d*) (%d+) (%S*)$'

-- read_session returns a session's field.
function state.read_session(name)
  local text = hash.get(name)
  if not text then
    return nil
  end
  local ends, last, at, waiting, want_permits, aside, ticket, turn, sum, held = string.match(text, state.SESSION)
  if not held then
    hash.broken(name)
    return nil
  end
  return {
    ends = ends + 0, seq = last + 0, version = at + 0, waiting = waiting + 0, want_permits = want_permits + 0,
    set_aside = aside + 0, ticket = ticket + 0, turn = turn + 0, sum = sum + 0, held = held,
  }
end

state.own = state.read_session(targets.own_field)
if state.own and state.own.waiting + state.own.sum == 0 and state.own.ends <= state.now then
  state.own = nil
end
state.ran = state.own and state.own.seq or 0 -- seq of this session's last call that ran
if state.ran >= call.seq then
  return { err = 'STALE a newer call of this session ran before' }
end

-- The HASH lives for SPARE seconds longer than it is needed, so that not every call must write its expiry.
state.SPARE = 60

-- write_state writes all fields that were put or dropped.
function state.write_state()
  state.version = math.max(state.version + 1, math.floor(state.now * 1000000))
  local late = hash.needed > state.expires
  if late then
    state.expires = hash.needed + state.SPARE
  end
  local was = state.was
  if was and was[4] == state.expires and was[6] == state.scan_at and was[5] == state.sweep_at and was[3] == state.offset
    and was[7] == state.blocks_until and was[8] == state.hold and was[1] == state.origin and was[2] == state.generation
  then -- as most calls leave it: the version alone is new, and writing fractions costs much
    hash.put('g', string.format('%s%.0f %s', state.begin, state.version, state.tail), state.now)
  else
    hash.put('g', string.format('%d %.0f %.0f %.0f %.17g %.17g %.17g %.17g %.17g %.17g', call.LAYOUT, state.origin,
      state.generation, state.version, state.offset, state.expires, state.sweep_at, state.scan_at, state.blocks_until,
      state.hold), state.now)
  end
  for from = 1, #hash.dropped, hash.PIECE do
    local piece = {}
    for i = from, math.min(from + hash.PIECE - 1, #hash.dropped) do
      if not hash.field[hash.dropped[i]] then
        piece[#piece + 1] = hash.dropped[i]
      end
    end
    if #piece > 0 then
      redis.call('HDEL', hash.key, unpack(piece))
    end
  end
  for from = 1, hash.n_puts, hash.PIECE do
    local piece, n = {}, 0
    for i = from, math.min(from + hash.PIECE - 1, hash.n_puts) do
      local name = hash.put_names[i]
      if hash.field[name] then
        piece[n + 1], piece[n + 2] = name, hash.field[name]
        n = n + 2
      end
    end
    redis.call('HSET', hash.key, unpack(piece))
  end
  if late then
    redis.call('PEXPIRE', hash.key, string.format('%.0f', math.ceil((state.expires - state.now) * 1000) + 1000))
  end
end

