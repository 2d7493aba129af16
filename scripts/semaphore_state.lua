-- The state of a semaphore: one HASH, which all scripts of the semaphore share.
--
-- Fields   c      limit; its version; until when a higher limit of the same version doesn't count (ms); longest TTL (ms)
--          a      the adaptive limit: limit, last decrease (µs), begin of the window (µs), its successes and their
--                 latencies' sum (µs), baseline, lowest and last latency (µs)
--          q      the sessions that hold or wait, as far as other sessions need them: see semaphore_sessions.lua
--          sID    the rest of a session: 1 if revoked, else 0; 1 if callers wait, else 0; the sequence number of its last
--                 report; its begin (ms since 2017); its ticket; the permits that its leases hold; its name
--          tN     the ID of the session with ticket N
--          g, i   generation and loss: see semaphore_loss.lua
--
-- A session that holds nothing and waits for nothing has no field.
--
-- Expects core.lua, fair_share.lua, semaphore_adaptive.lua, semaphore_sessions.lua and semaphore_loss.lua. Leaves read_state, write_state and
-- the functions between them on a state s.

local MOST = 16777215

-- milliseconds cuts a time in seconds to milliseconds. The time is a whole number of microseconds but for its rounding.
local function milliseconds(s)
  return math.floor(s * 1000 + 0.0005)
end

-- read_header returns the HASH's configuration, or nil.
local function read_header(text)
  if not text then
    return nil
  end
  local limit, version, till, ttl = string.match(text, '^(%d+) (%d+) (%d+) (%d+)')
  return { limit = tonumber(limit), version = tonumber(version), till = tonumber(till), ttl = tonumber(ttl) }
end

local function write_header(h)
  return string.format('%.0f %.0f %.0f %.0f', h.limit, h.version, h.till, h.ttl)
end

local function ticket_field(ticket)
  return string.format('t%.0f', ticket)
end

-- read_state returns the semaphore's state, with the sessions as they are written. mine is the text of session id.
local function read_state(id)
  local first = redis.call('HMGET', KEYS[1], 'c', 'a', 'q', 's' .. id, 'g', 'i')
  local s = {
    text = first[1], header = read_header(first[1]), adaptive = read_adaptive(first[2]), written = first[3],
    sessions = read_sessions(first[3]), mine = first[4],
    -- To be filled in; so that the table needn't grow.
    gone = {}, n = 0, alloc = false, need = false, want = false, notified = false, me = false, gap = false, used = 0, total = false, due = 0,
    quick = 0, base = false, split = false, set_aside = false, ahead = false, lack = false, part = 0, cut1 = 0, cut2 = 0, cut3 = 0,
    generation = 0, version = 0, server = '', loss = false,
  }
  read_loss(s, first[5], first[6])
  return s
end

-- end_sessions leaves out sessions that have ended at now, and returns their IDs.
local function end_sessions(s, now)
  local dead, ids = nil, {}
  s.sessions, dead = live_sessions(s.sessions, now, s.header and s.header.ttl or 0)
  for _, ticket in ipairs(dead) do
    local field = ticket_field(ticket)
    s.gone[#s.gone + 1] = field
    ids[#ids + 1] = redis.call('HGET', KEYS[1], field) or ''
    s.gone[#s.gone + 1] = 's' .. ids[#ids]
  end
  return ids
end

-- decode_session returns what only the session itself needs, up to its ticket.
local function decode_session(text)
  local revoked, waits, seq, begin, ticket = string.match(text, '^(%d) (%d) (%d+) (%d+) (%d+)')
  return revoked == '1', waits == '1', tonumber(seq), tonumber(begin), tonumber(ticket)
end

local function encode_session(waits, seq, begin, ticket, held, name)
  return string.format('0 %d %.0f %.0f %.0f %.0f ', waits and 1 or 0, seq, begin, ticket, held) .. name -- any bytes
end

-- held_and_name returns the rest.
local function held_and_name(text)
  local held, name = string.match(text, '^%d %d %d+ %d+ %d+ (%d+) (.*)$')
  return tonumber(held), name
end

-- id_of returns the ID of the session with a ticket.
local function id_of(ticket)
  return redis.call('HGET', KEYS[1], ticket_field(ticket)) or ''
end

-- load_columns reads the columns that shares are made of.
local function load_columns(s)
  local t = s.sessions
  s.n, s.alloc, s.need = t.n, column(t, ALLOC) or {}, column(t, NEED)
  s.want, s.notified = { column(t, HIGH), column(t, NORMAL) or {}, column(t, LOW) }, column(t, NOTIFIED)
end

-- place puts the session that reports into the columns. It takes the place of what stood at position p, or stands at the
-- end if last or without p. row is nil if the session leaves.
local function place(s, p, row, last)
  local columns = { s.alloc, s.need, s.want[1], s.want[2], s.want[3], s.notified }
  if p and (last or not row) then
    for kind = 1, NOTIFIED do
      if columns[kind] then
        table.remove(columns[kind], p)
      end
    end
    s.n, s.gap = s.n - 1, p
    p = nil
  end
  if not row then
    return
  end
  if not p then
    s.n = s.n + 1
    p = s.n
  end
  s.me = p
  for kind = 1, NOTIFIED do
    local all = columns[kind]
    if not all and row[kind] > 0 then
      all = {}
      for i = 1, s.n do
        all[i] = 0
      end
      if kind == NEED then
        s.need = all
      else
        s.want[kind - NEED] = all
      end
    end
    if all then
      all[p] = row[kind]
    end
  end
end

-- written_at returns where session i stands in the written text, from which one session may have been taken.
local function written_at(s, i)
  return s.gap and i >= s.gap and i + 1 or i
end

local function sum(all)
  local total = 0
  for i = 1, all and #all or 0 do
    total = total + all[i]
  end
  return total
end

-- add_up fills in the sums, and how many sessions have had their turn for how long.
local function add_up(s, now)
  local alloc, normal, used, total = s.alloc, s.want[2], 0, 0
  for i = 1, s.n do
    used, total = used + alloc[i], total + normal[i]
  end
  s.used, s.total = used, { sum(s.want[1]), total, sum(s.want[3]) }
  s.due = since(s.sessions, now - SHARE_TURN, 0)
  s.quick = since(s.sessions, now - SHARE_QUICK, s.due)
  if s.gap then
    s.due, s.quick = s.gap <= s.due and s.due - 1 or s.due, s.gap <= s.quick and s.quick - 1 or s.quick
  end
end

-- configure takes in the limit that a process is configured with, and returns the configuration in force. A higher version
-- wins. Of several limits with the same version, the lowest wins for as long as a process reports it.
local function configure(h, now, limit, version, ttl)
  if not h or version > h.version then
    return { limit = limit, version = version, till = now + ttl, ttl = math.max(ttl, h and h.ttl or 0), changed = true }
  end
  local till = h.till
  if version == h.version and (limit < h.limit or now >= till or till > now + h.ttl) then
    h.limit, h.till, h.changed = limit, now + ttl, true
  elseif version == h.version and limit == h.limit and till < now + ttl / 2 then
    h.till, h.changed = now + ttl, true
  end
  if ttl > h.ttl then
    h.ttl, h.changed = ttl, true
  end
  return h
end

-- wake publishes to a session, or to all sessions with id '', that a report may get more. The message is a hint, and where
-- publishing isn't permitted, the writes before it stand.
local function wake(id, from)
  redis.pcall('PUBLISH', id == '' and KEYS[1] or KEYS[1] .. ':' .. id, from)
end

-- How long a configuration with a version outlives the last session. Milliseconds.
local KEEP = 86400000

-- limit_of returns how many permits there are now.
local function limit_of(s)
  if s.adaptive then
    return math.min(s.header.limit, math.floor(s.adaptive.limit))
  end
  return s.header.limit
end

-- is_under returns whether a session has less than its share.
local function is_under(s)
  for i = 1, s.n do
    if share_of(s, i) > s.alloc[i] then
      return true
    end
  end
  return false
end

-- lacks returns how many more permits session i needs for its next request. Session i isn't the one that reports.
local function lacks(s, i)
  if not s.need or s.need[i] <= 1 then
    return 1
  end
  local text = redis.call('HGET', KEYS[1], 's' .. id_of(in_row(s.sessions, written_at(s, i), TICKET)))
  return s.need[i] - (s.alloc[i] - (text and held_and_name(text) or 0))
end

-- kept_until returns until when the HASH is kept if its last session ends at latest or before. With sessions that is one
-- TTL longer than needed, so that few reports have to write it.
local function kept_until(s, now, latest)
  local least = math.max(latest, now + KEEP_GENERATION)
  if s.sessions.kept >= least and s.header.version == 0 then
    return s.sessions.kept
  end
  return math.max(least + s.header.ttl, s.header.version > 0 and now + KEEP or 0)
end

-- write_state writes text as the sessions, puts the fields in puts and deletes the fields in s.gone. With sessions the HASH
-- is kept until kept. Without, its generation and an adaptive limit are kept for KEEP_GENERATION.
local function write_state(s, now, text, kept, puts)
  local gone = s.gone
  if text and text ~= s.written then
    puts[#puts + 1] = 'q'
    puts[#puts + 1] = text
  elseif s.written and not text then
    gone[#gone + 1] = 'q'
  end
  if s.loss.changed then
    puts[#puts + 1] = 'i'
    puts[#puts + 1] = write_loss(s.loss)
  end
  if #puts == 0 and #gone == 0 then
    return
  end
  if s.generation > 0 then
    puts[#puts + 1] = 'g'
    puts[#puts + 1] = write_generation(s, now)
  end
  if not text then
    kept = now + math.max(s.header.version > 0 and KEEP or 0, (s.generation > 0 or s.adaptive) and KEEP_GENERATION or 0)
    if s.text and s.header.version == 0 and not s.adaptive then
      gone[#gone + 1] = 'c'
    end
  end
  for i = 1, #gone, 1000 do
    redis.call('HDEL', KEYS[1], unpack(gone, i, math.min(i + 999, #gone)))
  end
  if #puts > 0 then
    redis.call('HSET', KEYS[1], unpack(puts))
  end
  if kept == now then
    redis.call('DEL', KEYS[1])
  elseif not text or kept ~= s.sessions.kept then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(kept - now)))
  end
end

-- check_integers returns an error reply if an argument from the first to the last is no whole number from 0 to 2^53, else
-- nil. It goes before every write: such a number, above all nan, could be written and not be read again.
local function check_integers(first, last)
  for i = first, last do
    local n = tonumber(ARGV[i])
    if not (n and n >= 0 and n <= 9007199254740992 and n % 1 == 0) then
      return redis.error_reply('ERR argument ' .. i .. " of the semaphore's script must be a whole number from 0 to 2^53")
    end
  end
end
