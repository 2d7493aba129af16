-- Max-min fair shares of a limit among sessions. Pure functions over Lua tables, without a call of Redis.
--
-- Sessions stand in the order of their turns: the session whose allocation has stayed the same for the longest time stands
-- first. So nothing is sorted.
--
-- Expects nothing. Leaves SHARE_TURN, SHARE_QUICK, fair_shares, share_of and share_owed.

-- Milliseconds. What doesn't divide evenly rotates: a session that lacks its part of it gets a turn after SHARE_TURN. A
-- session that has nothing, or whose next request is larger than an even part, gets it after SHARE_QUICK. That is long
-- enough for the session before it to use its turn, and short beside a remote call.
local SHARE_TURN, SHARE_QUICK = 500, 2

-- share_level returns the even part of left units for the sessions that want more than that part, after all others got
-- what they want, and the remainder. Together all want more than left.
local function share_level(want, n, left)
  local part, rest, count = math.floor(left / n), nil, nil
  repeat
    local before = part
    rest, count = left, 0
    for i = 1, n do
      local w = want[i]
      if w > part then
        count = count + 1
      else
        rest = rest - w
      end
    end
    part = math.floor(rest / count)
  until part == before
  return part, rest - part * count
end

-- share_rank returns the rank of session i, which wants more than an even part, when the remainder is offered.
--
--   1  the session's turn has come; the session that has waited longest first
--   2  it has a unit of the remainder; the session that got it last first
--   3  all others
local function share_rank(s, i, part)
  if s.ahead[i] > part then
    return 2
  end
  return (i <= s.due or (i <= s.quick and (s.lack and s.lack[i] or 1) > part)) and 1 or 3
end

-- share_cuts offers rest units to the sessions that want more than an even part. It notes up to which position the
-- sessions of each rank get one: s.cut1, s.cut2, s.cut3. These loops are most of the cost of a report, so they call no
-- function.
local function share_cuts(s, want, part, rest)
  local ahead, lack, due, quick, n = s.ahead, s.lack, s.due, s.quick, s.n
  s.cut1, s.cut2, s.cut3 = 0, n + 1, 0
  if rest == 0 then
    return
  end
  if not lack and part > 0 then
    quick = due
  end
  for i = 1, quick do
    if ahead[i] <= part and want[i] > part and (i <= due or not lack or lack[i] > part) then
      rest = rest - 1
      if rest == 0 then
        s.cut1 = i
        return
      end
    end
  end
  s.cut1 = quick
  for i = n, 1, -1 do
    if ahead[i] > part and want[i] > part then
      rest = rest - 1
      if rest == 0 then
        s.cut2 = i
        return
      end
    end
  end
  s.cut2 = 1
  for i = 1, n do
    if ahead[i] <= part and want[i] > part and i > due and (i > quick or lack and lack[i] <= part) then
      rest = rest - 1
      if rest == 0 then
        s.cut3 = i
        return
      end
    end
  end
end

-- share_units shares left units among sessions that together want more, and whose requests are for single units. Each
-- session gets what it wants, up to an even part; some get one unit more.
local function share_units(s, want, left)
  local part, rest = share_level(want, s.n, left)
  s.split, s.part = want, part
  share_cuts(s, want, part, rest)
end

-- share_order returns the sessions that want more than an even part, in the order in which the remainder is offered.
local function share_order(s, want, part)
  local order, later = {}, {}
  for i = 1, s.n do
    local rank = want[i] > part and share_rank(s, i, part)
    if rank == 1 then
      order[#order + 1] = i
    elseif rank == 3 then
      later[#later + 1] = i
    end
  end
  for i = s.n, 1, -1 do
    if want[i] > part and s.ahead[i] > part then
      order[#order + 1] = i
    end
  end
  for k = 1, #later do
    order[#order + 1] = later[k]
  end
  return order
end

-- share_beyond sets s.ahead, what each session has beyond base, its part at higher priorities, and s.lack, what it lacks
-- for its next request. s.lack is nil if every session lacks 1.
local function share_beyond(s, base)
  s.ahead, s.lack = s.alloc, nil
  if base then
    local need = s.need
    s.ahead, s.lack = {}, {}
    for i = 1, s.n do
      s.ahead[i], s.lack[i] = s.alloc[i] - base[i], math.max(need and need[i] or 1, 1) - base[i]
    end
  end
end

-- set_aside_for_large serves requests that are larger than an even part. Small requests can be served at any time, so
-- without it they would starve the large ones. It sets aside what the next request of each idle session needs, in the
-- order in which they began to wait, lists these sessions in s.set_aside and returns what is left. After a large request
-- is served, the other sessions have their turn.
local function set_aside_for_large(s, want, left)
  local open, base, need, due, large = 0, s.base, s.need, {}, false
  for i = 1, s.n do
    open = want[i] > 0 and open + 1 or open
  end
  local part = math.floor(left / open)
  for i = 1, s.quick do
    if want[i] > 0 and s.alloc[i] < need[i] then
      due[#due + 1] = i
      large = large or need[i] - base[i] > part
    end
  end
  for k = 1, large and #due or 0 do
    local i = due[k]
    local lack = need[i] - base[i]
    if lack > 0 and lack <= left and lack <= want[i] then
      base[i], want[i], left = base[i] + lack, want[i] - lack, left - lack
      s.set_aside[#s.set_aside + 1] = i
    end
  end
  return left
end

-- share_requests is share_units for requests of any size. In the order of share_order, each session gets an even part of
-- what is left, rounded up, or what its next request needs if that is more. A session whose next request doesn't fit gets
-- nothing, since it couldn't use a part of it.
local function share_requests(s, want, left)
  local base, need, parked = {}, s.need, {}
  for i = 1, s.n do
    base[i], need[i] = s.base and s.base[i] or 0, math.max(need[i], 1)
  end
  s.base = base
  left = set_aside_for_large(s, want, left)
  local part = share_level(want, s.n, left)
  share_beyond(s, base)
  local order = share_order(s, want, part)
  for i = 1, s.n do
    if want[i] <= part then
      base[i], left = base[i] + want[i], left - want[i]
    end
  end
  for k = 1, #order do
    local i = order[k]
    local give = math.min(want[i], -math.floor(-left / (#order - k + 1)))
    local lack = need[i] - base[i]
    if lack > give then
      parked[i] = lack > left or lack > want[i]
      give = parked[i] and 0 or lack
    end
    base[i], want[i], left = base[i] + give, want[i] - give, left - give
  end
  for k = 1, left > 0 and #order or 0 do
    local i = order[k]
    if not parked[i] then
      local give = math.min(want[i], left)
      base[i], left = base[i] + give, left - give
    end
  end
end

-- fair_shares computes the sessions' fair shares of limit units, for share_of. It returns whether the sessions together
-- want more than the limit.
--
-- Fields of s that it expects, with sessions 1..s.n in the order of their turns:
--   alloc  what each session has
--   need   size of each session's next request; 0 stands for 1; nil if all are 0
--   want   for each priority, highest first, what each session could use at that priority; an array may be missing if its
--          sum is 0; the arrays are consumed
--   total  the sum of each of these arrays
--   due    how many sessions, from the first, have had their turn for SHARE_TURN
--   quick  how many have had it for SHARE_QUICK
-- It leaves, beside what share_of reads:
--   set_aside  sessions for which free units are set aside, in order. A session behind or outside the list may not take
--              units that they lack, even within its share, while other sessions still have more than theirs.
--
-- A higher priority is served before a lower one. Within a priority the shares are max-min fair: a session's share doesn't
-- grow with its demand while another session gets less than it could use.
local function fair_shares(limit, s)
  local left = limit
  s.base, s.split, s.set_aside = nil, nil, {}
  for level = 1, #s.total do
    local want, total, base = s.want[level], s.total[level], s.base
    if total > left then
      if s.need then
        share_requests(s, want, left)
      else
        share_beyond(s, base)
        share_units(s, want, left)
      end
      return true
    elseif total > 0 then
      s.base = want
      for i = 1, base and s.n or 0 do
        want[i] = want[i] + base[i]
      end
      left = left - total
    end
  end
  return false
end

-- share_of returns the fair share of session i. Most reports need few shares, so it is computed on demand.
local function share_of(s, i)
  local share, want = s.base and s.base[i] or 0, s.split and s.split[i] or 0
  if want == 0 or want <= s.part then
    return share + want
  end
  local rank, more = share_rank(s, i, s.part), nil
  if rank == 2 then
    more = i >= s.cut2
  else
    more = i <= (rank == 1 and s.cut1 or s.cut3)
  end
  return share + s.part + (more and 1 or 0)
end

-- share_owed returns how many free units are set aside for sessions before session me; me nil: for all.
local function share_owed(s, me)
  local owed = 0
  for k = 1, #s.set_aside do
    local i = s.set_aside[k]
    if i == me then
      break
    end
    owed = owed + math.max(0, share_of(s, i) - s.alloc[i])
  end
  return owed
end
