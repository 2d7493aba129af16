-- The state of a semaphore: one HASH, shared by the semaphore's scripts. Stands behind core.lua, share.lua and
-- semaphore_adaptive.lua.
--
-- Fields   c      limit, version, until when a higher limit of the same version doesn't count (ms), longest TTL (ms)
--          a      the adaptive limit: limit, last decrease (µs), begin of the window (µs), its successes and their
--                 latencies' sum (µs), baseline, lowest and last latency (µs)
--          sID    a session, as bytes, so that a hundred of them are read in microseconds; big-endian:
--                   1  5  end (ms since 2017)            23  3  wanted with high priority
--                   6  7  turn (µs since 2017)           26  3  wanted with low priority
--                  13  3  allocated permits              29  3  held by leases
--                  16  3  size of the next request       32  6  sequence number of the last report
--                  19  3  wanted with normal priority    38  4  TTL (ms)
--                  22  1  +1: revoked,                   42  5  begin (ms since 2017)
--                         +2: high or low is wanted      47  2  length of the field's name, then that
--                                                               the session's name
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

-- bytes appends n to out as size bytes.
local function bytes(out, n, size)
  local last = #out + size
  for i = last, last - size + 1, -1 do
    out[i] = n % 256
    n = math.floor(n / 256)
  end
end

local function encode_session(row)
  local out = {}
  bytes(out, row.ends, 5)
  bytes(out, row.turn, 7)
  bytes(out, row.alloc, 3)
  bytes(out, row.need, 3)
  bytes(out, row.want[2], 3)
  bytes(out, row.want[1] + row.want[3] > 0 and 2 or 0, 1)
  bytes(out, row.want[1], 3)
  bytes(out, row.want[3], 3)
  bytes(out, row.held, 3)
  bytes(out, row.seq, 6)
  bytes(out, row.ttl, 4)
  bytes(out, row.begin, 5)
  bytes(out, #row.field, 2)
  return string.char(unpack(out)) .. row.field .. row.name
end

-- Where the parts of a session's bytes v stand that few reports need.
local function held_of(v)
  return number(v, 29, 31)
end
local function field_of(v)
  return string.sub(v, 49, 48 + number(v, 47, 48))
end
local function is_revoked(v)
  return string.byte(v, 22) % 2 == 1
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

-- fill_up puts zeros where a priority that is rarely used has no number.
local function fill_up(want, n, total)
  if total > 0 then
    for i = 1, n do
      want[i] = want[i] or 0
    end
  end
end

-- read_state returns the semaphore's state at now (ms): arrays of the live sessions without the one whose field is
-- mine, with their bytes in s.value, that one's bytes in s.mine, and ended sessions in s.dead. A session costs a
-- quarter of a microsecond here, which is why the loop calls nothing but byte, and keeps only what every report needs.
local function read_state(now, mine)
  local first = redis.call('HMGET', KEYS[1], 'c', 'a', mine)
  local header, adaptive, own = first[1], first[2], first[3]
  local raw = header and redis.call('HVALS', KEYS[1]) or {}
  local value, turns, allocs, needs, highs, normals, lows, dead = {}, {}, {}, {}, {}, {}, {}, {}
  local high_total, normal_total, low_total, used, latest, earliest = 0, 0, 0, 0, 0, math.huge
  local count, byte = 0, string.byte
  for index = 1, #raw do
    local v = raw[index]
    if v ~= header and v ~= own and v ~= adaptive then
      local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, t, u, w, flags = byte(v, 1, 22)
      local ends = (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
      if ends <= now then
        dead[#dead + 1] = field_of(v)
      else
        count = count + 1
        local alloc, normal = m * 65536 + n * 256 + o, t * 65536 + u * 256 + w
        value[count], allocs[count], needs[count], normals[count] = v, alloc, p * 65536 + q * 256 + r, normal
        turns[count] = (((((f * 256 + g) * 256 + h) * 256 + i) * 256 + j) * 256 + k) * 256 + l
        used, normal_total = used + alloc, normal_total + normal
        if flags >= 2 then
          highs[count], lows[count] = number(v, 23, 25), number(v, 26, 28)
          high_total, low_total = high_total + highs[count], low_total + lows[count]
        end
        if ends > latest then
          latest = ends
        end
        if ends < earliest then
          earliest = ends
        end
      end
    end
  end
  fill_up(highs, count, high_total)
  fill_up(lows, count, low_total)
  return {
    n = count, value = value, turn = turns, alloc = allocs, need = needs, want = { highs, normals, lows },
    total = { high_total, normal_total, low_total }, used = used, latest = latest, earliest = earliest, dead = dead,
    capped = {}, mine = own, text = header, header = read_header(header),
    adaptive = read_adaptive(adaptive),
  }
end

-- add_session adds the session that reports to the others.
local function add_session(s, row)
  local n = s.n + 1
  s.n, s.used, s.latest = n, s.used + row.alloc, math.max(s.latest, row.ends)
  s.turn[n], s.alloc[n], s.need[n] = row.turn, row.alloc, row.need
  for level = 1, 3 do
    s.want[level][n] = row.want[level]
    s.total[level] = s.total[level] + row.want[level]
    fill_up(s.want[level], n, s.total[level])
  end
end

-- cap_sessions shortens sessions whose end lies further ahead than any TTL: Redis' clock was set back.
local function cap_sessions(s, now)
  local most = now + (s.header and s.header.ttl or 0)
  if s.latest <= most then
    return
  end
  s.latest, s.earliest = most, math.min(s.earliest, most)
  local ends = {}
  bytes(ends, most, 5)
  ends = string.char(unpack(ends))
  for _, v in ipairs(s.value) do
    if number(v, 1, 5) > most then
      s.capped[#s.capped + 1] = field_of(v)
      s.capped[#s.capped + 1] = ends .. string.sub(v, 6)
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

-- wake tells a session, or all with field '', that it is worth asking. Nobody relies on the message, and where it may
-- not be sent, the writes before it stand.
local function wake(field, from)
  redis.pcall('PUBLISH', field == '' and KEYS[1] or KEYS[1] .. ':' .. string.sub(field, 2), from)
end

-- How long a configuration that was given a version outlives the last session, and an adaptive limit, in milliseconds.
local KEEP, KEEP_ADAPTIVE = 86400000, 600000

-- limit_of returns how many permits there are now.
local function limit_of(s)
  if s.adaptive then
    return math.min(s.header.limit, math.floor(s.adaptive.limit))
  end
  return s.header.limit
end

-- write_state puts the fields in puts, deletes those in gone, and lets the HASH live until the last session ends.
local function write_state(s, now, puts, gone)
  for i = 1, #gone, 1000 do
    redis.call('HDEL', KEYS[1], unpack(gone, i, math.min(i + 999, #gone)))
  end
  for i = 1, #puts, 1000 do
    redis.call('HSET', KEYS[1], unpack(puts, i, math.min(i + 999, #puts)))
  end
  local life = math.max(s.latest - now, s.header.version > 0 and KEEP or 0, s.adaptive and KEEP_ADAPTIVE or 0)
  if life <= 0 then
    redis.call('DEL', KEYS[1])
  else
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(life)))
  end
end
