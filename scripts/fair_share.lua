-- Max-min fair shares of a limit among sessions, as pure functions over Lua tables: nothing here asks Redis.
--
-- The sessions are in the order of their turns: the one that has had, or lacked, what it has for the longest time stands
-- first. So nothing is sorted.

-- A session that lacks its part of what doesn't divide evenly gets its turn after SHARE_TURN. One that has
-- nothing at all, or whose next request is larger than an even part, gets it after SHARE_QUICK: long enough to let the
-- one before make use of its turn, short beside any remote call. Milliseconds.
local SHARE_TURN, SHARE_QUICK = 500, 2

-- share_level returns the even part that left units are for the sessions that want more than it, once all others have got
-- what they want, and what remains beyond those parts. All want more than left together.
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

-- share_rank returns where a session that wants more than an even part stands when what doesn't divide evenly is offered:
-- first those whose turn it is, the one that waited longest first (1); then those that have it, the one that got it last
-- first (2); then the rest (3).
local function share_rank(s, i, part)
  if s.ahead[i] > part then
    return 2
  end
  return (i <= s.due or (i <= s.quick and (s.lack and s.lack[i] or 1) > part)) and 1 or 3
end

-- share_cuts offers rest units to the sessions that want more than an even part, and notes up to where in the order of
-- turns those of each rank get one. These loops are most of what a report costs, and so they call nothing.
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

-- share_units shares left units among sessions that want more than that together, and whose requests are for single
-- units: each gets what it wants up to an even part, and some get one more.
local function share_units(s, want, left)
  local part, rest = share_level(want, s.n, left)
  s.split, s.part = want, part
  share_cuts(s, want, part, rest)
end

-- share_order returns the sessions that want more than an even part, in the order in which the rest is offered to them.
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

-- share_beyond sets s.ahead, what each session has beyond base, what it gets at higher priorities, and s.lack, what it
-- lacks for its next request, nil if that is 1.
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

-- set_aside_for_large serves large requests, which wait for more than an even part: the others, who could be served all the
-- time, would else keep them waiting for ever. It sets aside what the next request of every session needs that has
-- nothing to serve it with, in the order in which they began to wait, notes them in s.set_aside, and returns what is left.
-- Once a large request is served, it is the others' turn again.
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

-- share_requests is share_units for requests of any size: the sessions get, in the order, an even part of what is left,
-- rounded up, or what their next request needs if that is more. A session whose next request can't be met gets nothing,
-- rather than units that it couldn't use; they go to the others.
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

-- fair_shares works out the sessions' fair shares of limit units, for share_of, and returns whether the sessions want
-- more than the limit together.
--
-- s holds the sessions 1..s.n, in the order of their turns. s.alloc, what each has; s.need, the size of its next
-- request, or 0, which stands for 1, and may be missing if all are 0; in s.want, for each priority from the highest to the lowest, what it could use at that
-- priority; s.total has the sum of each of those. s.want is used up, and an array of it may be missing if its sum is 0.
-- The turns of the first s.due sessions have lasted for SHARE_TURN, those of the first s.quick for SHARE_QUICK.
--
-- s.set_aside lists, in order, the sessions for which free units are set aside: nobody behind or outside that list may take
-- units that they lack, even within its share, while others still have more than theirs.
--
-- A higher priority is served before a lower one. Within a priority the shares are max-min fair: no session gets more
-- by having more demand while another gets less than it could use.
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

-- share_of returns the fair share of session i. It isn't worked out for all, since most reports need few.
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

-- share_owed returns how many free units must be left for sessions before session me, or before all others if me is nil.
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
