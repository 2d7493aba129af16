-- The state of a semaphore: one HASH, shared by the semaphore's scripts. Stands behind core.lua and share.lua.
--
-- Fields   c      limit, version, until when a higher limit of the same version doesn't count (ms), longest TTL (ms)
--          sID    a session, as bytes, so that a hundred of them are read in microseconds; big-endian:
--                   1  5  end (ms since 2017)            22  3  wanted with high priority
--                   6  7  turn (µs since 2017)           25  3  wanted with normal priority
--                  13  3  allocated permits              28  3  wanted with low priority
--                  16  3  held by leases                 31  1  1: revoked
--                  19  3  size of the next request       32  6  sequence number of the last report
--                                                        38  4  TTL (ms)
--                                                        42  5  begin (ms since 2017)
--                                                        47     name
--
-- What a session wants includes what it holds. A session that holds nothing and waits for nothing has no field.

local MOST = 16777215

-- milliseconds cuts a time in seconds, which is a whole number of microseconds but for its rounding, to milliseconds.
local function milliseconds(s)
  return math.floor(s * 1000 + 0.0005)
end

-- number returns the number in the bytes from..to of text.
local function number(text, from, to)
  local n = 0
  for i = from, to do
    n = n * 256 + string.byte(text, i)
  end
  return n
end

-- bytes returns n as size bytes.
local function bytes(n, size)
  local out = {}
  for i = size, 1, -1 do
    out[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(out)
end

local function encode_session(row)
  return bytes(row.ends, 5) .. bytes(row.turn, 7) .. bytes(row.alloc, 3) .. bytes(row.held, 3) .. bytes(row.need, 3)
    .. bytes(row.want[1], 3) .. bytes(row.want[2], 3) .. bytes(row.want[3], 3) .. bytes(row.revoked, 1)
    .. bytes(row.seq, 6) .. bytes(row.ttl, 4) .. bytes(row.begin, 5) .. row.name
end

-- add_session appends a session's numbers to the arrays of s.
local function add_session(s, field, ends, turn, alloc, held, need, high, normal, low)
  local n, want, total = s.n + 1, s.want, s.total
  s.n = n
  s.field[n], s.ends[n], s.turn[n], s.alloc[n], s.held[n], s.need[n] = field, ends, turn, alloc, held, need
  want[1][n], want[2][n], want[3][n] = high, normal, low
  s.demand[n] = high + normal + low
  total[1], total[2], total[3] = total[1] + high, total[2] + normal, total[3] + low
  s.used = s.used + alloc
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

-- read_state returns the semaphore's state at now (ms): arrays of the live sessions without the one whose field is
-- mine, that one's bytes in s.mine, ended sessions in s.dead, and in s.capped those that Redis' clock, set back, would
-- keep for too long.
local function read_state(now, mine)
  local raw = redis.call('HGETALL', KEYS[1])
  local s = {
    n = 0, used = 0, dead = {}, capped = {}, empty = #raw == 0, latest = 0, earliest = math.huge,
    field = {}, ends = {}, turn = {}, alloc = {}, held = {}, need = {}, demand = {},
    want = { {}, {}, {} }, total = { 0, 0, 0 }, text = {},
  }
  local byte = string.byte
  for i = 1, #raw, 2 do
    local field, v = raw[i], raw[i + 1]
    if byte(field) ~= 115 then
      s.text[field] = v
    elseif field == mine then
      s.mine = v
    else
      local a, b, c, d, e, f, g, h, j, k, l, m, n, o, p, q, r, t, u, w, x, y, z, a1, b1, c1, d1, e1, f1, g1 =
        byte(v, 1, 30)
      local ends = (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
      if ends <= now then
        s.dead[#s.dead + 1] = field
      else
        local turn = (((((f * 256 + g) * 256 + h) * 256 + j) * 256 + k) * 256 + l) * 256 + m
        add_session(s, field, ends, turn, (n * 256 + o) * 256 + p, (q * 256 + r) * 256 + t, (u * 256 + w) * 256 + x,
          (y * 256 + z) * 256 + a1, (b1 * 256 + c1) * 256 + d1, (e1 * 256 + f1) * 256 + g1)
        s.text[field] = v
        s.latest, s.earliest = math.max(s.latest, ends), math.min(s.earliest, ends)
      end
    end
  end
  s.header = read_header(s.text.c)
  return s
end

-- cap_sessions shortens sessions whose end lies further ahead than any TTL: Redis' clock was set back.
local function cap_sessions(s, now)
  local longest = s.header and s.header.ttl or 0
  if s.latest <= now + longest then
    return
  end
  s.latest, s.earliest = now + longest, math.min(s.earliest, now + longest)
  for i = 1, s.n do
    if s.ends[i] > now + longest then
      s.ends[i] = now + longest
      s.capped[#s.capped + 1] = s.field[i]
      s.capped[#s.capped + 1] = bytes(s.ends[i], 5) .. string.sub(s.text[s.field[i]], 6)
    end
  end
end

-- configure takes in the limit that a process is configured with and returns the configuration that counts. A higher
-- version wins. Of several limits with the same version the lowest wins for as long as anybody reports it.
local function configure(h, now, limit, version, ttl)
  if not h or version > h.version then
    return { limit = limit, version = version, till = now + ttl, ttl = math.max(ttl, h and h.ttl or 0) }
  end
  local till = h.till
  if version == h.version and (limit < h.limit or now >= till or till > now + h.ttl) then
    h.limit, h.till = limit, now + ttl
  elseif version == h.version and limit == h.limit and till < now + ttl / 2 then
    h.till = now + ttl
  end
  h.ttl = math.max(h.ttl, ttl)
  return h
end

-- wake tells a session, or all with field '', that it is worth asking. Nobody relies on the message.
local function wake(field, from)
  redis.call('PUBLISH', field == '' and KEYS[1] or KEYS[1] .. ':' .. string.sub(field, 2), from)
end

-- KEEP is how long a configuration that was given a version outlives the last session, in milliseconds.
local KEEP = 86400000

-- write_state puts the fields in puts, deletes those in gone, and lets the HASH live until the last session ends.
local function write_state(s, now, puts, gone)
  for i = 1, #gone, 1000 do
    redis.call('HDEL', KEYS[1], unpack(gone, i, math.min(i + 999, #gone)))
  end
  for i = 1, #puts, 1000 do
    redis.call('HSET', KEYS[1], unpack(puts, i, math.min(i + 999, #puts)))
  end
  local life = math.max(s.latest - now, s.header.version > 0 and KEEP or 0)
  if life <= 0 then
    redis.call('DEL', KEYS[1])
  else
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(life)))
  end
end
