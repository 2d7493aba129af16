-- Lost writes of a semaphore.
--
-- Field g: the generation, which begins with the HASH and after each loss; the version, the time of the last write (both µs,
-- and higher than any before); the replication ID of the server that last gave out permits.
-- Field i, of the last loss: the generation that lost writes; the generation that was found in its place; until when no new
-- permits are granted (ms); how many sessions there were as far as those that report know, and the version as of which they
-- know; how many were found, and have reported since without being found; the IDs of those that have reported since.
--
-- Redis loses a suffix of its writes, or all. A report that is answered has written its session's field. So a session that
-- has seen lost state finds that field older or gone, or another generation, or an older version. The first that does makes
-- a new generation. No new permits are granted until all known sessions have reported, at least for GRACE, and at most for
-- a third of the TTL. Sessions keep meanwhile what they have. A semaphore's first start is no loss.
--
-- Where no session has found a loss, Redis may tell of one: a HASH is new, but other sessions listen to its messages; a
-- session that has ended still listens, as after Redis' clock was set forward; another server than before gives out permits.
--
-- Expects core.lua. Leaves the functions on the loss of a state s that are used below.

-- KEEP_GENERATION is how long a HASH is kept at least after its last write, and so for how long a session without a row can
-- find a loss. GRACE is how long sessions have to answer the message that asks them to report. Milliseconds.
local KEEP_GENERATION, GRACE = 900000, 250

-- read_loss reads the fields g and i.
local function read_loss(s, g, i)
  local generation, version, server = string.match(g or '', '^(%d+) (%d+) (%x*)$')
  s.generation, s.version, s.server = tonumber(generation or 0), tonumber(version or 0), server or ''
  local a, b, c, d, e, f, ids = string.match(i or '', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)( .*)$')
  s.loss = {
    lost = tonumber(a or 0), found = tonumber(b or 0), till = tonumber(c or 0), known = tonumber(d or 0),
    as_of = tonumber(e or 0), rows = tonumber(f or 0), reported = ids or ' ', changed = false, begins = false,
  }
end

local function write_loss(l)
  return string.format('%.0f %.0f %.0f %.0f %.0f %.0f', l.lost, l.found, l.till, l.known, l.as_of, l.rows) .. l.reported
end

local function write_generation(s, now)
  s.version = math.max(now * 1000, s.version + 1)
  return string.format('%.0f %.0f %s', s.generation, s.version, s.server)
end

-- is_held_up returns whether no new permits are granted. A clock that was set back doesn't make it longer. ttl is the
-- longest of all sessions.
local function is_held_up(s, now, ttl)
  return s.loss.till > now and s.loss.till <= now + ttl
end

-- hold_up begins a new generation, and a time without new permits, after the generation lost has lost writes.
local function hold_up(s, lost, known, now, ttl)
  local longest = math.floor(ttl / 3)
  s.loss = {
    lost = lost, found = s.generation,
    till = now + (known.sessions + s.sessions.n > 0 and longest or math.min(GRACE, longest)), known = known.sessions,
    as_of = known.version, rows = s.sessions.n, reported = ' ', changed = true, begins = true,
  }
  s.generation = math.max(now * 1000, s.generation + 1, lost + 1)
end

-- wait_for_reports begins a short time without new permits: it isn't known whether writes are lost.
local function wait_for_reports(s, now, ttl)
  local l = s.loss
  l.till, l.known, l.rows, l.reported = now + math.min(GRACE, math.floor(ttl / 3)), 0, 0, ' '
  l.changed, l.begins = true, true
end

-- others_listen returns whether other sessions receive messages.
local function others_listen(id)
  local channels = redis.pcall('PUBSUB', 'CHANNELS', KEYS[1] .. ':*')
  for i = 1, #channels do
    if channels[i] ~= KEYS[1] .. ':' .. id then
      return true
    end
  end
  return false
end

-- any_listens returns whether one of the sessions with these IDs receives messages.
local function any_listens(ids)
  for k = 1, #ids do
    local count = redis.pcall('PUBSUB', 'NUMSUB', KEYS[1] .. ':' .. ids[k])
    if (tonumber(count[2]) or 0) > 0 then
      return true
    end
  end
  return false
end

-- has_lost returns whether state that the session has seen is gone, and no session has found it yet. seq is the number in
-- the session's field, or 0.
local function has_lost(s, known, seq, now)
  if known.generation == 0 then
    return false
  elseif known.generation == s.generation then
    return known.version > s.version or known.seq > seq
  elseif known.generation == s.loss.lost or known.generation == s.loss.found then
    return false
  end
  return known.seq > 0 or now - known.version / 1000 < KEEP_GENERATION
end

-- awaits_reports returns whether the time without new permits ends with a report. Else it ends by itself.
local function awaits_reports(l)
  return l.known > 0 or l.rows > 0
end

-- note_report takes in the first report of a session since a loss. It counts sessions that have a row (found) or had one.
local function note_report(s, id, known, found, now, ttl)
  local l = s.loss
  if not is_held_up(s, now, ttl) or not awaits_reports(l) or known.generation == s.generation then
    return
  end
  if known.version > l.as_of then
    l.known, l.as_of, l.changed = known.sessions, known.version, true
  end
  if (known.seq > 0 or found) and not string.find(l.reported, ' ' .. id .. ' ', 1, true) then
    l.rows, l.reported, l.changed = l.rows + (found and 0 or 1), l.reported .. id .. ' ', true
  end
  local _, count = string.gsub(l.reported, '%S+', '')
  if count >= l.known and count >= l.rows then
    l.till, l.known, l.rows, l.reported = math.min(l.till, math.floor(s.generation / 1000) + GRACE), 0, 0, ' '
    l.changed = true
  end
end

-- check_loss compares the state with what the session knows of it. ended are the IDs of sessions that have just ended.
local function check_loss(s, id, known, seq, found, ended, active, now, ttl)
  local l = s.loss
  if l.reported ~= ' ' and not is_held_up(s, now, ttl) then
    l.known, l.rows, l.reported, l.changed = 0, 0, ' ', true
  end
  if has_lost(s, known, seq, now) then
    if not is_held_up(s, now, ttl) or not awaits_reports(l) or known.generation == s.generation then
      hold_up(s, known.generation, known, now, ttl)
    end
  elseif s.generation == 0 and active then
    s.generation, l.begins = math.max(1, now * 1000), true
    if others_listen(id) then
      wait_for_reports(s, now, ttl)
    end
  elseif not is_held_up(s, now, ttl) and any_listens(ended) then
    wait_for_reports(s, now, ttl)
  end
  note_report(s, id, known, found, now, ttl)
end

-- check_server holds up grants if another server than the last one is about to give out permits. It returns whether they
-- are held up.
local function check_server(s, id, known, found, now, ttl)
  local info = redis.pcall('INFO', 'replication')
  local server = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')
  if not server or server == s.server then
    return false
  end
  local before = s.server
  s.server = server
  if before == '' then
    return false
  end
  hold_up(s, s.generation, known, now, ttl)
  note_report(s, id, known, found, now, ttl)
  return true
end
