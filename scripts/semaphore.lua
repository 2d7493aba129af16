-- A process reports what it holds of a semaphore and what it waits for, and gets its allocation. Stands behind
-- core.lua, share.lua, semaphore_adaptive.lua, semaphore_sessions.lua and semaphore_state.lua.
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

-- tell_waiting decides who is told that free permits are for it: those that are due more than they have, the longest
-- waiting first. Who was told and hasn't asked since isn't told again, for it asks in any case: it has a poll. Returns the
-- positions of those, and the permits that are free for others.
local function tell_waiting(s, free)
  local list, alloc, ahead, part, told = {}, s.alloc, s.split and s.ahead, s.part, s.told
  for i = 1, free > 0 and s.n or 0 do
    if not ahead or ahead[i] <= part then -- else it has its share
      local share = share_of(s, i)
      local lack = share - alloc[i]
      if lack > 0 and i ~= s.me and (#s.aside == 0 and not s.need or lacks(s, i) <= free - share_owed(s, i)) then
        if not told or told[i] == 0 then
          list[#list + 1] = i
        end
        free, alloc[i] = free - lack, share
        if free <= 0 then
          break
        end
      end
    end
  end
  return list, free
end

-- note_told returns text, the sessions, with those in the list as told. The one that reports stands last there if last.
local function note_told(s, text, list, last)
  local told = s.told or {}
  for i = #told + 1, s.n do
    told[i] = 0
  end
  for k = 1, #list do
    told[list[k]] = 1
  end
  if s.me and last then
    table.remove(told, s.me)
    told[s.n] = 0
  end
  return put_told(text, s.n, told)
end

-- tell_holding returns the positions of those that have more than their share, until lack permits are found.
local function tell_holding(s, lack)
  local list = {}
  for i = 1, lack > 0 and s.n or 0 do
    local surplus = s.alloc[i] - share_of(s, i)
    if surplus > 0 and lack > 0 then
      lack = lack - surplus
      list[#list + 1] = i
    end
  end
  return list
end

-- wake_all wakes the sessions at the positions in list.
local function wake_all(s, list, from)
  for k = 1, #list do
    wake(id_of(in_row(s.sessions, written_at(s, list[k]), TICKET)), from)
  end
end

-- adapt_limit takes in what calls have met. used is how many permits all sessions had in use.
local function adapt_limit(s, used, now_us)
  s.adaptive = adapt(s.adaptive, {
    gradient = ARGV[15] == 'gradient', min = tonumber(ARGV[16]), initial = tonumber(ARGV[17]),
    backoff = tonumber(ARGV[18]), every = tonumber(ARGV[19]), tolerance = tonumber(ARGV[20]),
    smoothing = tonumber(ARGV[21]), queue = tonumber(ARGV[22]),
  }, tonumber(ARGV[23]), tonumber(ARGV[24]), tonumber(ARGV[25]), used, s.header.limit, now_us)
end

local now_s = server_now(ARGV[1])
local now, now_us = milliseconds(now_s), math.floor(now_s * 1000000 + 0.5)
local id, seq, ttl = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local held, alloc, need = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local adaptive = (ARGV[15] or '') ~= ''

local deadline = tonumber(ARGV[2])
if deadline > 0 and now_s > deadline then
  return { 2, now_us, 0, -1, -1, 0, 0, 0, 0 }
end

local invalid = check_integers(4, 13)
if invalid then
  return invalid
end
local s = read_state(id)
local revoked, waited, known, begin, ticket
if s.mine then
  revoked, waited, known, begin, ticket = decode_session(s.mine)
  if seq <= known then
    return { 3, now_us, 0, -1, -1, 0, 0, 0, 0 }
  end
end
s.header = configure(s.header, now, tonumber(ARGV[6]), tonumber(ARGV[7]), ttl)
end_sessions(s, now)
load_columns(s)

-- What the session had.
local had = 0
local row = {
  ends = now + ttl, turn = now, ticket = s.sessions.ticket + 1,
  alloc, need > 1 and need or 0, tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), 0,
}
local at = ticket and position(s.sessions, ticket)
if at then
  had, row.turn, row.ticket = s.alloc[at], in_row(s.sessions, at, TURN), ticket
  if revoked and alloc > 0 then
    return { 1, now_us, 0, -1, -1, limit_of(s), s.header.limit, s.header.version, s.n }
  end
end

-- A session's turn begins anew when its first waiter comes, when it gets something, and when it gives back although it
-- could use it: then it is the others' turn, also in this very report.
local last = need > 0 and (not (at and waited) or alloc < had)
if last then
  row.turn = now
end
local demand = row[HIGH] + row[NORMAL] + row[LOW]
local active = alloc > 0 or demand > 0
place(s, at, active and row, last)
add_up(s, now)
if adaptive then
  adapt_limit(s, s.used - alloc + tonumber(ARGV[26]), now_us)
end
local limit = limit_of(s)
local contended = fair_shares(limit, s)
local me, share = s.me, 0

-- What is free goes to this session up to its share, if it is enough for its next request.
if active then
  share = share_of(s, me)
  local grant = math.min(demand, share, alloc + limit - s.used - share_owed(s, me)) - alloc
  if need > 0 and grant > 0 and grant >= need - (alloc - held) then
    row[ALLOC], s.alloc[me], s.used = alloc + grant, alloc + grant, s.used + grant
    held = held + grant -- at once, since it was waited for
  end
  if row[ALLOC] > had then
    row.turn, last = now, true
  end
end
-- Pressed: nobody should sit on permits that it doesn't use, for somebody is due more than it has.
local pressed = contended or is_under(s)
local waiters, free = tell_waiting(s, limit - s.used)

local puts, text = {}, nil
local kept = kept_until(s, now, math.max(s.sessions.latest, active and row.ends or 0))
if active then
  puts[1], puts[2] = 's' .. id, encode_session(need > 0, seq, at and begin or now, row.ticket, held, ARGV[14])
  if not at then
    puts[3], puts[4] = ticket_field(row.ticket), id
  end
  text = put_session(s.sessions, at, row, last, kept)
else
  text, kept = drop_session(s.sessions, at), s.sessions.kept
  if at then
    s.gone[#s.gone + 1], s.gone[#s.gone + 2] = 's' .. id, ticket_field(ticket)
  end
end
if #waiters > 0 then
  text = note_told(s, text, waiters, last)
end
if s.header.changed and (s.n > 0 or s.header.version > 0 or s.adaptive) then
  puts[#puts + 1] = 'c'
  puts[#puts + 1] = write_header(s.header)
end
if adaptive then
  puts[#puts + 1] = 'a'
  puts[#puts + 1] = write_adaptive(s.adaptive)
end

-- A session that is due more than is free: it tells those that have more than their share, and asks again later.
local again, holders = -1, {}
if active and need > 0 and demand > row[ALLOC] then
  holders = tell_holding(s, share - row[ALLOC] - math.max(free, 0))
  again = s.sessions.earliest - now
  local waiting = now - row.turn
  if waiting < SHARE_QUICK and need > share then
    again = math.min(again, SHARE_QUICK - waiting)
  elseif waiting < SHARE_TURN then
    again = math.min(again, SHARE_TURN - waiting)
  end
  again = again < MOST and again or -1
end

write_state(s, now, text, kept, puts)
if not s.text and active then
  wake('', id) -- whoever holds permits of a HASH that Redis has lost puts them back
end
wake_all(s, waiters, id)
wake_all(s, holders, id)
return { 0, now_us, row[ALLOC], pressed and share or -1, again, limit, s.header.limit, s.header.version, s.n }
