-- A process reports what it holds of a semaphore and what it waits for, and gets its allocation. Stands behind
-- core.lua, share.lua, semaphore_adaptive.lua and semaphore_state.lua.
--
-- A report is a state, not a step: it says what the session has now, so that one that is lost is made good by the next,
-- and one that comes late or twice is recognised by its number and does nothing.
--
-- KEYS[1]  the semaphore's HASH
--
-- ARGV     1  now       test override of Redis' time (seconds since 2017), or empty
--          2  deadline  do nothing after this time (seconds since 2017); 0: none
--          3  session   this process's session
--          4  seq       grows with every report of the session
--          5  ttl       milliseconds until the session ends unless it reports again
--          6  limit     permits, as this process is configured
--          7  version   of that limit; 0: none
--          8  held      permits that leases hold
--          9  alloc     permits of its allocation that the session wants to keep, at least held
--         10  need      size of its next request; 0: none waits
--         11  high      permits that it could use (held and waited for) with high priority,
--         12  normal    with normal priority,
--         13  low       with low priority
--         14  name      for people
--         15  adaptive  'aimd' or 'gradient': the limit adapts to what calls meet; empty or none: not by this process,
--                       and the rest is left out
--         16  the lowest limit  17 the first  18 the factor after an overload  19 a window (µs)  20 tolerance of latency
--         21  part of a change that takes effect at once  22 permits beyond what latency tells, to try for more
--         since the last report:  23 calls that ended well  24 calls that met an overload  25 how long the calls took
--         that ended well, together (µs)  26 the most permits held at a time
--
-- Reply    1  status    0: done; 1: revoked, the session's permits are taken back once it reports none;
--                       2: late, 3: stale: nothing was done
--          2  now       microseconds since 2017
--          3  alloc     permits that the session has now, until its end
--          4  share     its fair share, if somebody has less than that; else -1
--          5  again     milliseconds until it is worth asking again for what wasn't given; -1: a poll or a message
--          6  limit     permits, as they count now
--          7  ceiling   the configured limit that counts
--          8  version   of that configuration
--          9  sessions  that hold or wait, this one included

local now_s = server_now(ARGV[1])
local now, now_us = milliseconds(now_s), math.floor(now_s * 1000000 + 0.5)
local session, seq, ttl = 's' .. ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local held, alloc, need = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local want = { tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]) }

local deadline = tonumber(ARGV[2])
if deadline > 0 and now_s > deadline then
  return { 2, now_us, 0, -1, -1, 0, 0, 0, 0 }
end

local s = read_state(now, session)
local row = {
  field = session, ends = now + ttl, turn = now_us, alloc = alloc, held = held, need = need, want = want, seq = seq,
  ttl = ttl, begin = now, name = ARGV[14],
}

-- What the session had.
local had, waited, revoked = 0, false, false
if s.mine then
  if seq <= number(s.mine, 32, 37) then
    return { 3, now_us, 0, -1, -1, 0, 0, 0, 0 }
  end
  if number(s.mine, 1, 5) > now then
    row.begin, row.turn = number(s.mine, 42, 46), number(s.mine, 6, 12)
    had, waited, revoked = number(s.mine, 13, 15), number(s.mine, 16, 18) > 0, is_revoked(s.mine)
  end
end

s.header = configure(s.header, now, tonumber(ARGV[6]), tonumber(ARGV[7]), ttl)
cap_sessions(s, now)

if revoked and alloc > 0 then
  return { 1, now_us, 0, -1, -1, limit_of(s), s.header.limit, s.header.version, s.n + 1 }
end

if (ARGV[15] or '') ~= '' then
  s.adaptive = adapt(s.adaptive, {
    gradient = ARGV[15] == 'gradient', min = tonumber(ARGV[16]), initial = tonumber(ARGV[17]),
    backoff = tonumber(ARGV[18]), every = tonumber(ARGV[19]), tolerance = tonumber(ARGV[20]),
    smoothing = tonumber(ARGV[21]), queue = tonumber(ARGV[22]),
  }, tonumber(ARGV[23]), tonumber(ARGV[24]), tonumber(ARGV[25]), s.used + tonumber(ARGV[26]), s.header.limit, now_us)
end
local limit = limit_of(s)

-- A session's turn begins anew when its first waiter comes, when it gets something, and when it gives back although it
-- could use it: then it is the others' turn, also in this very report.
if need > 0 and (not waited or alloc < had) then
  row.turn = now_us
end
local demand = want[1] + want[2] + want[3]
local active = alloc > 0 or demand > 0
local me, share = 0, 0
if active then
  add_session(s, row)
  me = s.n
end
local contended = fair_shares(limit, s, now_us)

-- What is free goes to this session up to its share, if it is enough for its next request.
if active then
  share = s.share[me]
  local grant = math.min(demand, share, alloc + limit - s.used - share_owed(s, me)) - alloc
  if need > 0 and grant > 0 and grant >= need - (alloc - held) then
    row.alloc, s.alloc[me], s.used = alloc + grant, alloc + grant, s.used + grant
    row.held = held + grant -- at once, since it was waited for
  end
  if row.alloc > had then
    row.turn = now_us
  end
end

local puts, gone = s.capped, s.dead
if active then
  puts[#puts + 1] = session
  puts[#puts + 1] = encode_session(row)
elseif s.mine then
  gone[#gone + 1] = session
end
local header = write_header(s.header)
if header ~= s.text and (s.n > 0 or s.header.version > 0 or s.adaptive) then
  puts[#puts + 1] = 'c'
  puts[#puts + 1] = header
end
if (ARGV[15] or '') ~= '' then
  puts[#puts + 1] = 'a'
  puts[#puts + 1] = write_adaptive(s.adaptive)
end
if #puts > 0 or #gone > 0 then
  write_state(s, now, puts, gone)
end

-- Whoever holds permits of a HASH that Redis has lost puts them back on this message.
if not s.text and active then
  wake('', ARGV[3])
end

-- Who is due more than it has, and who has more than it is due.
local under, over = {}, {}
for i = 1, s.n do
  local lack = s.share[i] - s.alloc[i]
  if lack > 0 then
    under[#under + 1] = i
  elseif lack < 0 then
    over[#over + 1] = i
  end
end
-- Pressed: nobody should sit on permits that it doesn't use.
local pressed = contended or #under > 0

-- lacks returns how many more permits session i needs for its next request.
local function lacks(i)
  return s.need[i] - (s.alloc[i] - held_of(s.value[i]))
end

-- Free permits wake those that are due more than they have, the longest waiting first.
local free = limit - s.used
if free > 0 then
  local turn = s.turn
  table.sort(under, function(a, b)
    return turn[a] < turn[b]
  end)
  for _, i in ipairs(under) do
    if i ~= me and free > 0 and lacks(i) <= free - share_owed(s, i) then
      wake(field_of(s.value[i]), ARGV[3])
      free, s.alloc[i] = free - (s.share[i] - s.alloc[i]), s.share[i]
    end
  end
end

-- A session that is due more than is free wakes those that have more than their share.
local again = -1
if active and need > 0 and demand > row.alloc then
  local lack = share - row.alloc - math.max(free, 0)
  for _, i in ipairs(over) do
    if lack > 0 then
      lack = lack - (s.alloc[i] - s.share[i])
      wake(field_of(s.value[i]), ARGV[3])
    end
  end
  again = s.earliest - now
  local waiting = now_us - row.turn
  if waiting < SHARE_QUICK and need > share then
    again = math.min(again, (SHARE_QUICK - waiting) / 1000)
  elseif waiting < SHARE_TURN then
    again = math.min(again, (SHARE_TURN - waiting) / 1000)
  end
  again = again < MOST and math.ceil(again) or -1
end

return { 0, now_us, row.alloc, pressed and share or -1, again, limit, s.header.limit, s.header.version, s.n }
