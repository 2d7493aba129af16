-- A process reports what it holds of a semaphore and what it waits for, and gets its allocation.
--
-- A report is a state, not a step. If a report is lost, the next report replaces it. A report that arrives late or twice is
-- recognised by its number and does nothing.
--
-- Expects core.lua, fair_share.lua, semaphore_adaptive.lua, semaphore_sessions.lua, semaphore_loss.lua and
-- semaphore_state.lua.
--
-- KEYS[1]  the semaphore's HASH
--
-- ARGV     1  now      test override of Redis' time (seconds since 2017), or empty
--          2  deadline do nothing after this time (seconds since 2017); 0: none
--          3  session  this process's session
--          4  seq      grows with every report of the session
--          5  ttl      milliseconds until the session ends unless it reports again
--          6  limit    permits, as this process is configured
--          7  version  of that limit; 0: none
--          8  held     permits that leases hold
--          9  alloc    permits of its allocation that the session wants to keep, at least held
--         10  need     size of its next request; 0: none waits
--         11  high     permits that it could use (held and waited for) with high priority,
--         12  normal   with normal priority,
--         13  low      with low priority
--         14  name     for people
--         of the last report that had a reply:
--         15  generation of the reply; 0: there was none
--         16  version    of the reply
--         17  seq        of that report if it left a row, else 0
--         18  sessions   of the reply
--         19  adaptive 'aimd' or 'gradient': this process adapts the limit; empty or absent: it doesn't, and the rest is
--                      left out
--         20  the lowest limit  21 the first  22 the factor after an overload  23 a window (µs)  24 tolerance of latency
--         25  part of a change that takes effect at once  26 permits above what latency suggests, to probe for more
--         since the last report:  27 successes  28 overloads  29 the sum of the successes' latencies (µs)
--         30  the most permits held at a time
--
-- Reply    1  status   OK: done; REVOKED: the session's permits are taken back once it reports none;
--                      LATE, STALE: nothing was done
--          2  now      microseconds since 2017
--          3  alloc    permits that the session has now, until its end
--          4  share    its fair share, if some session has less than its share; else -1
--          5  again    milliseconds until another report may get what is lacking; -1: a poll or a message tells
--          6  limit    permits in force
--          7  ceiling  the configured limit in force
--          8  version  of that configuration
--          9  sessions that hold or wait, this one included
--         10  generation of the state
--         11  version of the state; both are 0 where the status isn't OK

-- pick_waiters chooses the sessions to notify of free permits: those with less than their share, the longest waiting first.
-- A session that was notified and hasn't reported since isn't chosen, since its poll makes it report in any case. It
-- returns their positions, and the permits that are free for others.
local function pick_waiters(s, free)
  local list, alloc, ahead, part, notified = {}, s.alloc, s.split and s.ahead, s.part, s.notified
  for i = 1, free > 0 and s.n or 0 do
    if not ahead or ahead[i] <= part then -- else it has its share
      local share = share_of(s, i)
      local lack = share - alloc[i]
      if lack > 0 and i ~= s.me and (#s.set_aside == 0 and not s.need or lacks(s, i) <= free - share_owed(s, i)) then
        if not notified or notified[i] == 0 then
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

-- mark_notified returns text, the sessions, with those in list as notified. If last, the reporting session stands last.
local function mark_notified(s, text, list, last)
  local notified = s.notified or {}
  for i = #notified + 1, s.n do
    notified[i] = 0
  end
  for k = 1, #list do
    notified[list[k]] = 1
  end
  if s.me and last then
    table.remove(notified, s.me)
    notified[s.n] = 0
  end
  return put_notified(text, s.n, notified)
end

-- pick_holders returns the positions of sessions with more than their share, until they make up lack permits.
local function pick_holders(s, lack)
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

-- wake_all notifies the sessions at the positions in list.
local function wake_all(s, list, from)
  for k = 1, #list do
    wake(id_of(in_row(s.sessions, written_at(s, list[k]), TICKET)), from)
  end
end

-- adapt_limit takes in the samples of the report. used is how many permits all sessions had in use.
local function adapt_limit(s, used, now_us)
  s.adaptive = adapt(s.adaptive, {
    gradient = ARGV[19] == 'gradient', min = tonumber(ARGV[20]), initial = tonumber(ARGV[21]),
    backoff = tonumber(ARGV[22]), every = tonumber(ARGV[23]), tolerance = tonumber(ARGV[24]),
    smoothing = tonumber(ARGV[25]), queue = tonumber(ARGV[26]),
  }, tonumber(ARGV[27]), tonumber(ARGV[28]), tonumber(ARGV[29]), used, s.header.limit, now_us)
end

local OK, REVOKED, LATE, STALE = 0, 1, 2, 3 -- values of status

local now_s = server_now(ARGV[1])
local now, now_us = milliseconds(now_s), math.floor(now_s * 1000000 + 0.5)
local id, seq, ttl = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local held, alloc, need = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local adaptive = (ARGV[19] or '') ~= ''

local deadline = tonumber(ARGV[2])
if deadline > 0 and now_s > deadline then
  return { LATE, now_us, 0, -1, -1, 0, 0, 0, 0, 0, 0 }
end

local invalid = check_integers(4, 13) or ARGV[15] and check_integers(15, 18)
if invalid then
  return invalid
end
local known = {
  generation = tonumber(ARGV[15] or 0), version = tonumber(ARGV[16] or 0), seq = tonumber(ARGV[17] or 0),
  sessions = tonumber(ARGV[18] or 0),
}
local s = read_state(id)
local revoked, waited, last_seq, begin, ticket
if s.mine then
  revoked, waited, last_seq, begin, ticket = decode_session(s.mine)
  if seq <= last_seq then
    return { STALE, now_us, 0, -1, -1, 0, 0, 0, 0, 0, 0 }
  end
end
s.header = configure(s.header, now, tonumber(ARGV[6]), tonumber(ARGV[7]), ttl)
local ended = end_sessions(s, now)
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
    return { REVOKED, now_us, 0, -1, -1, limit_of(s), s.header.limit, s.header.version, s.n, 0, 0 }
  end
end

-- A session's turn begins anew with its first waiter, when it gets something, and when it returns what it could use. In the
-- last case the other sessions have their turn in this very report.
local last = need > 0 and (not (at and waited) or alloc < had)
if last then
  row.turn = now
end
local demand = row[HIGH] + row[NORMAL] + row[LOW]
local active = alloc > 0 or demand > 0
check_loss(s, id, known, last_seq or 0, at, ended, active, now, s.header.ttl)
local held_up = is_held_up(s, now, s.header.ttl)
place(s, at, active and row, last)
add_up(s, now)
if adaptive then
  adapt_limit(s, s.used - alloc + tonumber(ARGV[30]), now_us)
end
local limit = limit_of(s)
local contended = fair_shares(limit, s)
local me, share = s.me, 0

-- A session takes what is free up to its share, if that is enough for its next request.
if active then
  share = share_of(s, me)
  local grant = math.min(demand, share, alloc + limit - s.used - share_owed(s, me)) - alloc
  if need > 0 and grant > 0 and grant >= need - (alloc - held) and not held_up then
    held_up = check_server(s, id, known, at, now, s.header.ttl) and is_held_up(s, now, s.header.ttl)
    grant = held_up and 0 or grant
    row[ALLOC], s.alloc[me], s.used = alloc + grant, alloc + grant, s.used + grant
    held = held + grant -- at once, since it was waited for
  end
  if row[ALLOC] > had then
    row.turn, last = now, true
  end
end
-- contended: some session has less than its share, so sessions must return unused permits at once.
contended = contended or is_under(s)
local waiters, free = pick_waiters(s, held_up and 0 or limit - s.used)

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
  text = mark_notified(s, text, waiters, last)
end
if s.header.changed and (s.n > 0 or s.header.version > 0 or s.adaptive) then
  puts[#puts + 1] = 'c'
  puts[#puts + 1] = write_header(s.header)
end
if adaptive then
  puts[#puts + 1] = 'a'
  puts[#puts + 1] = write_adaptive(s.adaptive)
end

-- A session with less than its share notifies the sessions that have more than theirs, and reports again later.
local again, holders = -1, {}
if active and need > 0 and demand > row[ALLOC] then
  holders = pick_holders(s, share - row[ALLOC] - math.max(free, 0))
  again = s.sessions.earliest - now
  local waiting = now - row.turn
  if waiting < SHARE_QUICK and need > share then
    again = math.min(again, SHARE_QUICK - waiting)
  elseif waiting < SHARE_TURN then
    again = math.min(again, SHARE_TURN - waiting)
  end
  again = held_up and math.min(again, s.loss.till - now) or again
  again = again < MOST and again or -1
end

write_state(s, now, text, kept, puts)
if s.loss.begins and active then
  wake('', id) -- sessions that hold permits that Redis doesn't know of restore them
end
wake_all(s, waiters, id)
wake_all(s, holders, id)
return { OK, now_us, row[ALLOC], contended and share or -1, again, limit, s.header.limit, s.header.version, s.n, s.generation, s.version }
