-- The sessions of a semaphore as one text, in the order of their turns (see fair_share.lua). Pure functions, without a
-- call of Redis.
--
-- Redis' Lua hashes every byte of a string that it makes. So the text holds only what shares are made of, and a number that
-- names the session, its ticket. Numbers are columns of bytes, which one call of string.byte reads for hundreds of sessions.
--
--    1  5  no session ends before this time (ms since 2017)
--    6  5  no session ends after this time
--   11  5  the last ticket that was given
--   16  6  sizes of the numbers, in bytes: alloc, need, high, normal, low, notified; 0: all of them are 0
--   22  5  the HASH is kept until this time (ms since 2017)
--   27     rows of three numbers of 5 bytes: end (ms since 2017), begin of the turn (ms), ticket
--          columns: the lowest byte of every alloc, the next higher byte of every alloc, and so on; then of every need …
--
-- A number of several bytes begins with its lowest byte.
--
-- A session's numbers: its allocation; the size of its next request if that is above 1, else 0; what it could use, held
-- permits included, with high, normal and low priority; 1 if it was notified and hasn't reported since.
--
-- Expects core.lua. Leaves the column numbers (ALLOC …), the row positions (END …) and the functions on a text t.

local HEADER, ROW, END, TURN, TICKET = 26, 15, 1, 6, 11
local ALLOC, NEED, HIGH, NORMAL, LOW, NOTIFIED = 1, 2, 3, 4, 5, 6
local LEAST = { 1, 0, 0, 1, 0, 0 } -- sizes of the numbers, before any is large

-- encode_u40 returns n as five bytes, and decode_u40 the number in five bytes.
local function encode_u40(n)
  local a = n % 256
  n = (n - a) / 256
  local b = n % 256
  n = (n - b) / 256
  local c = n % 256
  n = (n - c) / 256
  local d = n % 256
  return string.char(a, b, c, d, (n - d) / 256)
end
local function decode_u40(a, b, c, d, e)
  return (((e * 256 + d) * 256 + c) * 256 + b) * 256 + a
end

-- read_bytes returns n bytes of text, from position from, as numbers.
local function read_bytes(text, from, n)
  if n <= 500 then
    return { string.byte(text, from, from + n - 1) }
  end
  local all = {}
  for i = 0, n - 1, 500 do
    local some = { string.byte(text, from + i, from + math.min(i + 500, n) - 1) }
    for k = 1, #some do
      all[i + k] = some[k]
    end
  end
  return all
end

-- read_sessions returns the sessions in text, or none if that is nil or false: how many they are, and where they stand.
local function read_sessions(text)
  if not text then
    return { text = false, n = 0, sizes = LEAST, sum = 0, columns = HEADER, earliest = math.huge, latest = 0, ticket = 0, kept = 0 }
  end
  local a, b, c, d, e, f = string.byte(text, 16, 21)
  local sum = a + b + c + d + e + f
  local n = (#text - HEADER) / (ROW + sum)
  return {
    text = text, n = n, sizes = { a, b, c, d, e, f }, sum = sum, columns = HEADER + n * ROW,
    earliest = decode_u40(string.byte(text, 1, 5)), latest = decode_u40(string.byte(text, 6, 10)),
    ticket = decode_u40(string.byte(text, 11, 15)), kept = decode_u40(string.byte(text, 22, 26)),
  }
end

-- column returns the numbers of one kind of all sessions, or nil if all are 0.
local function column(t, kind)
  local size, n, from = t.sizes[kind], t.n, t.columns + 1
  if size == 0 or n == 0 then
    return nil
  end
  for before = 1, kind - 1 do
    from = from + t.sizes[before] * n
  end
  local all = read_bytes(t.text, from, n)
  for k = 1, size - 1 do
    local higher, factor = read_bytes(t.text, from + k * n, n), 256 ^ k
    for i = 1, n do
      all[i] = all[i] + higher[i] * factor
    end
  end
  return all
end

-- in_row returns the number that begins at byte from of the row at position i: END, TURN or TICKET.
local function in_row(t, i, from)
  from = HEADER + (i - 1) * ROW + from
  return decode_u40(string.byte(t.text, from, from + 4))
end

-- position returns the position of the session with a ticket, or nil.
local function position(t, ticket)
  local bytes, from = encode_u40(ticket), HEADER
  repeat
    from = t.n > 0 and string.find(t.text, bytes, from + 1, true)
    if not from or from > t.columns then
      return nil
    end
  until (from - HEADER - TICKET) % ROW == 0
  return (from - HEADER - TICKET) / ROW + 1
end

-- since returns how many sessions, from the first, have had their turn since a moment (ms) or longer; at least low.
local function since(t, moment, low)
  local text, high, byte, floor = t.text, t.n, string.byte, math.floor
  while low < high do
    local middle = floor((low + high + 1) / 2)
    local at = HEADER + (middle - 1) * ROW + TURN
    local a, b, c, d, e = byte(text, at, at + 4)
    if (((e * 256 + d) * 256 + c) * 256 + b) * 256 + a <= moment then
      low = middle
    else
      high = middle - 1
    end
  end
  return low
end

-- encode_entries returns a session's row, and its byte in each column. A session has ends, turn, ticket and its numbers.
local function encode_entries(session, sizes)
  local out, count = { encode_u40(session.ends) .. encode_u40(session.turn) .. encode_u40(session.ticket) }, 1
  for kind = 1, #sizes do
    local n = session[kind]
    for _ = 1, sizes[kind] do
      count = count + 1
      out[count] = string.char(n % 256)
      n = (n - n % 256) / 256
    end
  end
  return out
end

local function header(earliest, latest, ticket, sizes, kept)
  return encode_u40(earliest) .. encode_u40(latest) .. encode_u40(ticket) .. string.char(unpack(sizes))
    .. encode_u40(kept)
end

-- write_sessions returns the text of a list of sessions, or false if the list is empty.
local function write_sessions(list, ticket, kept)
  local earliest, latest, sizes = math.huge, 0, { unpack(LEAST) }
  for _, session in ipairs(list) do
    earliest, latest = math.min(earliest, session.ends), math.max(latest, session.ends)
    for kind = 1, #sizes do
      while session[kind] >= 256 ^ sizes[kind] do
        sizes[kind] = sizes[kind] + 1
      end
    end
  end
  if #list == 0 then
    return false
  end
  local columns, out = {}, { header(earliest, latest, ticket, sizes, kept) }
  for i = 1, #list do
    columns[i] = encode_entries(list[i], sizes)
  end
  for k = 1, #columns[1] do
    for i = 1, #list do
      out[#out + 1] = columns[i][k]
    end
  end
  return table.concat(out)
end

-- list_sessions is the reverse of write_sessions.
local function list_sessions(t)
  local list = {}
  for i = 1, t.n do
    list[i] = { ends = in_row(t, i, END), turn = in_row(t, i, TURN), ticket = in_row(t, i, TICKET) }
  end
  for kind = 1, #t.sizes do
    local all = column(t, kind)
    for i = 1, t.n do
      list[i][kind] = all and all[i] or 0
    end
  end
  return list
end

-- live_sessions returns the sessions that haven't ended at now, and the tickets of those that have. An end further ahead
-- than ttl (ms) or a turn ahead of now shows that Redis' clock was set back; both are corrected.
local function live_sessions(t, now, ttl)
  if t.n == 0 or (now < t.earliest and t.latest <= now + ttl and in_row(t, t.n, TURN) <= now) then
    return t, {}
  end
  local live, dead = {}, {}
  for _, session in ipairs(list_sessions(t)) do
    if session.ends <= now then
      dead[#dead + 1] = session.ticket
    else
      session.ends, session.turn = math.min(session.ends, now + ttl), math.min(session.turn, now)
      live[#live + 1] = session
    end
  end
  return read_sessions(write_sessions(live, t.ticket, t.kept)), dead
end

-- splice returns the text with another header head. The session at position p, if any, is left out. own, the entries of a
-- session, takes its place, or stands at the end if last or without p.
local function splice(t, p, own, last, head)
  local text, n, sub = t.text, t.n, string.sub
  local out, count, from, done, size = { head }, 1, HEADER, HEADER, ROW
  local before, after = p and p - 1 or n, p or n
  for k = 1, t.sum + 1 do
    local entry = own and own[k]
    out[count + 1] = sub(text, done + 1, from + before * size)
    count, done = count + 1, from + after * size
    if last then
      out[count + 1] = sub(text, done + 1, from + n * size)
      count, done = count + 1, from + n * size
    end
    if entry then
      count = count + 1
      out[count] = entry
    end
    from, size = from + n * size, 1
  end
  out[count + 1] = sub(text, done + 1)
  return table.concat(out)
end

-- fits returns whether the columns are wide enough for a session.
local function fits(t, session)
  for kind = 1, #t.sizes do
    if session[kind] >= 256 ^ t.sizes[kind] then
      return false
    end
  end
  return t.n > 0
end

-- put_session returns the text with a session in the place of the one at position p, or at the end if last or without p.
-- The HASH is kept until kept.
local function put_session(t, p, session, last, kept)
  local ticket, latest = math.max(t.ticket, session.ticket), math.max(t.latest, session.ends)
  if fits(t, session) then
    local head
    if session.ends >= t.earliest and ticket == t.ticket and kept == t.kept then
      head = string.sub(t.text, 1, 5) .. encode_u40(latest) .. string.sub(t.text, 11, HEADER)
    else
      head = header(math.min(t.earliest, session.ends), latest, ticket, t.sizes, kept)
    end
    return splice(t, p, encode_entries(session, t.sizes), last, head)
  end
  local list = list_sessions(t)
  if p then
    table.remove(list, p)
  end
  table.insert(list, p and not last and p or #list + 1, session)
  return write_sessions(list, ticket, kept)
end

-- drop_session returns the text without the session at position p, which may be nil.
local function drop_session(t, p)
  if not p then
    return t.text
  end
  return t.n > 1 and splice(t, p, nil, false, string.sub(t.text, 1, HEADER))
end

-- put_notified returns the text of n sessions with another column of notified.
local function put_notified(text, n, notified)
  local out = { string.sub(text, 1, 20), '\1', string.sub(text, 22, -1 - n * string.byte(text, 21)) }
  for i = 1, n, 500 do
    out[#out + 1] = string.char(unpack(notified, i, math.min(i + 499, n)))
  end
  return table.concat(out)
end
