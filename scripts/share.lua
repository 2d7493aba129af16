-- Max-min fair shares of a limit among sessions, as pure functions over Lua tables: nothing here asks Redis.

-- A session that lacks its part of what doesn't divide evenly gets its turn after SHARE_TURN milliseconds. One that has
-- nothing at all, or whose next request is larger than an even part, gets it after SHARE_QUICK: long enough to let the
-- one before make use of its turn, short beside any remote call. Microseconds.
local SHARE_TURN, SHARE_QUICK = 500000, 2000

-- Bounds of what a sort key packs: half the range of a waiting time in microseconds (35 minutes; it may be negative if
-- the clock was set back), and the index of a session.
local SHARE_WAIT, SHARE_INDEX = 2147483648, 131072

-- share_order returns the sessions of open[1..n] in the order in which what doesn't divide evenly is offered to them:
-- those whose turn it is, the one that waited longest first; those that have it, the one that got it last first; the
-- rest. No two sessions have the same turn, or the order would depend on who asks. part is what each of them can have evenly.
local function share_order(s, open, n, part, now)
  local keys, share, turn, alloc, need = {}, s.share, s.turn, s.alloc, s.need
  for k = 1, n do
    local i = open[k]
    local even, waited = share[i] + part, now - turn[i]
    if waited >= SHARE_WAIT then
      waited = SHARE_WAIT - 1
    elseif waited < -SHARE_WAIT then
      waited = -SHARE_WAIT
    end
    local class, rank = 2, SHARE_WAIT - 1 - waited
    if alloc[i] > even then
      class, rank = 1, SHARE_WAIT + waited
    elseif waited >= SHARE_TURN or (waited >= SHARE_QUICK and need[i] > even) then
      class = 0
    end
    keys[k] = (class * 2 * SHARE_WAIT + rank) * SHARE_INDEX + i
  end
  table.sort(keys)
  return keys
end

-- share_turns gives left units to the sessions of open[1..n], each of which wants more than an even part: in order of
-- their turns, an even part of what is left, rounded up, or what its next request needs if that is more. A session
-- whose next request can't be met gets nothing, rather than units that it couldn't use; they go to the others.
local function share_turns(s, want, open, n, left, now)
  local share, need = s.share, s.need
  local order, parked = share_order(s, open, n, math.floor(left / n), now), {}
  for k = 1, n do
    local i = order[k] % SHARE_INDEX
    local give = -math.floor(-left / (n - k + 1))
    if give > want[i] then
      give = want[i]
    end
    local lack = need[i] - share[i]
    if lack > give then
      give = lack
      if lack > left or lack > want[i] then
        give, parked[i] = 0, true
      end
    end
    share[i], left = share[i] + give, left - give
    want[i] = want[i] - give
  end
  for k = 1, left > 0 and n or 0 do
    local i = order[k] % SHARE_INDEX
    if not parked[i] then
      local give = math.min(want[i], left)
      share[i], left = share[i] + give, left - give
    end
  end
end

-- share_large serves large requests, which wait for more than an even part: the others, who could be served all the
-- time, would else keep them waiting for ever. It sets aside what the next request of every session needs that has
-- nothing to serve it with, in the order in which they began to wait, notes them in s.aside, and returns what is left.
-- Once a large request is served, it is the others' turn again.
local function share_large(s, want, open, n, left, now)
  local part, due, turn, large = math.floor(left / n), {}, s.turn, false
  for k = 1, n do
    local i = open[k]
    if s.alloc[i] < s.need[i] and now - turn[i] >= SHARE_QUICK then
      due[#due + 1] = i
      large = large or s.need[i] - s.share[i] > part
    end
  end
  if not large then
    return left
  end
  table.sort(due, function(a, b)
    return turn[a] < turn[b]
  end)
  for _, i in ipairs(due) do
    local lack = s.need[i] - s.share[i]
    if lack > 0 and lack <= left and lack <= want[i] then
      s.share[i], want[i], left = s.share[i] + lack, want[i] - lack, left - lack
      s.aside[#s.aside + 1] = i
    end
  end
  return left
end

-- share_level gives left units to sessions that want more than that together: those that want no more than an even
-- part of what is left get what they want, the others the rest in equal parts.
local function share_level(s, want, left, now)
  local open, n, share, large = {}, 0, s.share, false
  for i = 1, s.n do
    if want[i] > 0 then
      n = n + 1
      open[n] = i
      large = large or s.need[i] > 1
    end
  end
  if large then
    left = share_large(s, want, open, n, left, now)
  end
  -- With an even part of 0 nobody wants less, except those for whom everything was set aside.
  local before
  while (left >= n or large) and before ~= n do
    before = n
    local part = math.floor(left / n)
    n = 0
    for k = 1, before do
      local i = open[k]
      if want[i] <= part then
        share[i], left = share[i] + want[i], left - want[i]
      else
        n = n + 1
        open[n] = i
      end
    end
  end
  share_turns(s, want, open, n, left, now)
end

-- share_owed returns how many free units must be left for sessions before session me, or before all others if me is nil.
local function share_owed(s, me)
  local owed = 0
  for _, i in ipairs(s.aside) do
    if i == me then
      break
    end
    owed = owed + math.max(0, s.share[i] - s.alloc[i])
  end
  return owed
end

-- fair_shares fills s.share with every session's fair share of limit units at the time now (microseconds), and returns
-- whether the sessions want more than the limit together.
--
-- s holds, for the sessions 1..s.n, arrays of: alloc, what the session has; need, the size of its next request, or 0 if
-- none waits; turn, since when it has had or lacked what it has (microseconds); and in s.want, for each priority from
-- the highest to the lowest, what it could use at that priority. s.total has the sum of each of those. s.want is used
-- up.
--
-- s.aside lists, in order, the sessions for which free units are set aside: nobody behind or outside that list may take
-- units that they lack, even within its share, while others still have more than theirs.
--
-- A higher priority is served before a lower one. Within a priority the shares are max-min fair: no session gets more
-- by having more demand while another gets less than it could use.
local function fair_shares(limit, s, now)
  local left, share = limit, {}
  s.share, s.aside = share, {}
  for i = 1, s.n do
    share[i] = 0
  end
  for level = 1, #s.want do
    local want, total = s.want[level], s.total[level]
    if total > left then
      share_level(s, want, left, now)
      return true
    end
    if total > 0 then
      for i = 1, s.n do
        share[i] = share[i] + want[i]
      end
      left = left - total
    end
  end
  return false
end
