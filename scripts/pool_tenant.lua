-- Part of the pool's script: tenants, which share the pool by weight. A call that names none pays for one comparison.
--
-- Start-time fair queueing: each tenant has a turn, which a booked call moves ahead by what it takes of the pool, divided by
-- the tenant's weight. The floor is the turn of the tenant that is furthest behind, of those whose calls wait; it never
-- moves back, and no turn lies behind it, so a tenant that was idle has no claim on the past. A tenant books as far
-- ahead as its demands say until its turn is ahead of the floor by its part of that time. Beyond, it books an eighth of
-- the horizon ahead: it gets what the others leave. The tenant at the floor always has its turn, so none starves.
--
-- A guaranteed tenant has a second turn, on the pool's clock, which moves ahead by what a call takes, divided by the share.
-- Until that is ahead of the clock, it has its turn whatever the first one says. Where some tenant of the pool is guaranteed
-- a share, all other calls book one call's slot ahead at most, so that it finds room soon when it wakes.
--
-- Field y: the floor; then for each tenant whose calls wait, or that was served in the last FORGET seconds,
-- NAME=weight,turn,until when its calls count as waiting,second turn;
--
-- Expects pool_evaluate.lua. Leaves tenancy; false where the call names no tenants.

local tenancy = false

if argv[argi + 1] + 0 < 0 then
  local FORGET, LEAST_WAIT = 10, 0.5 -- seconds; beyond the longest time between two polls
  local ENTRY = '([^=;]+)=(%d+%.?%d*),(%d+%.?%d*),(%d+%.?%d*),(%d+%.?%d*);'
  tenancy = { floor = 1, all = {}, by_name = {}, sent = {}, demands = {}, weight = 0, current = false, others = 0, wait = 0, full = 0,
    count = 0, guarded = false }

  local function read_tenants()
    local text = hash.get('y')
    local floor, list = string.match(text or '1 ', '^(%d+%.?%d*) (.*)$')
    if not floor then
      hash.broken('y')
      return
    end
    tenancy.floor = floor + 0
    for name, weight, turn, till, second in string.gmatch(list, ENTRY) do
      local t = { name = name, weight = weight + 0, turn = turn + 0, till = till + 0, second = second + 0, share = 0, here = false }
      if t.till + FORGET > state.now then
        tenancy.all[#tenancy.all + 1] = t
        tenancy.by_name[name] = t
      end
    end
  end

  -- read_sent reads the call's tenants, and of each demand which one it is of.
  local function read_sent(demands)
    tenancy.guarded = num() == 1
    for i = 1, num() do
      local name = arg()
      local t = tenancy.by_name[name]
      if not t then
        t = { name = name, weight = 0, turn = tenancy.floor, till = 0, second = 0, share = 0, here = true }
        tenancy.all[#tenancy.all + 1] = t
      end
      t.weight, t.share, t.here = num(), num(), true
      t.turn = math.max(t.turn, tenancy.floor)
      t.second = math.max(t.second, state.now)
      tenancy.sent[i] = t
    end
    for g = 1, demands do
      tenancy.demands[g] = tenancy.sent[num()]
    end
    for i = 1, #tenancy.all do
      local t = tenancy.all[i]
      if t.here or t.till > state.now then
        tenancy.weight = tenancy.weight + t.weight
      end
    end
  end

  -- slot returns the time that one call of a demand takes of a target.
  local function slot(d)
    local takes = 0
    for i = 1, d.n do
      takes = math.max(takes, d.group.limits[i].interval * d.units[i])
    end
    return takes
  end

  -- begin makes the tenant of demand g the current one. What another tenant's demand waits for isn't reserved for it.
  function tenancy.begin(g, group)
    local t = tenancy.demands[g]
    if t ~= tenancy.current then
      for _, target in pairs(group.targets) do
        target.reserved = false
      end
    end
    tenancy.current, tenancy.others, tenancy.wait = t, math.huge, 0
    for i = 1, #tenancy.all do
      local o = tenancy.all[i]
      if o ~= t and o.turn < tenancy.others and (o.here or o.till > state.now) then
        tenancy.others = o.turn
      end
    end
  end

  -- spare returns how far the current tenant's turn may still move while it is its own; negative: it isn't.
  local function spare(d)
    local t = tenancy.current
    return math.max(tenancy.floor, math.min(tenancy.others, t.turn)) + d.reach / tenancy.weight - t.turn
  end

  -- reach returns whether the current tenant has its turn, and how far ahead it may book.
  function tenancy.reach(d)
    local t = tenancy.current
    if t.share > 0 and t.second <= state.now + d.reach then
      tenancy.full = d.reach
      return true, d.reach
    end
    tenancy.full = tenancy.guarded and math.min(d.reach, math.max(slot(d), call.horizon / 16)) or d.reach
    if spare(d) >= 0 then
      return true, tenancy.full
    end
    return false, math.min(tenancy.full, call.horizon / 8)
  end

  -- most returns how many of n calls the current tenant may book at once.
  function tenancy.most(d, n)
    local step = slot(d) / d.group.size / tenancy.current.weight
    if tenancy.others == math.huge or step == 0 then
      return n
    end
    return math.max(1, math.min(n, math.floor(spare(d) / step) + 1))
  end

  -- take moves the current tenant's turns ahead by n calls on a target.
  function tenancy.take(target, d, n)
    local t, takes = tenancy.current, 0
    for i = 1, d.n do
      takes = math.max(takes, target.counters[i].limit.interval * d.units[i])
    end
    local part = takes * n / d.group.size
    -- A turn is bounded, so that what a tenant took of an idle pool is soon forgotten.
    t.turn = math.min(t.turn, math.max(tenancy.floor, math.min(tenancy.others, t.turn)) + 2 * d.bound / tenancy.weight)
      + part / t.weight
    if t.share > 0 then
      t.second = math.min(t.second, state.now + d.bound) + part / t.share
    end
  end

  -- waits notes that a demand of the current tenant waits for a target.
  function tenancy.waits(target)
    tenancy.wait = math.max(tenancy.wait, target.bookable_at - state.now)
  end

  -- ask_at returns when the current tenant, which hasn't its turn, may have it.
  function tenancy.ask_at(target)
    return math.max(state.now + tenancy.full / 2, target.bookable_at - tenancy.full)
  end

  -- finish notes how many calls of a demand are left.
  function tenancy.finish(d, over)
    local t = tenancy.current
    t.till = math.max(t.till, over > 0 and state.now + math.max(LEAST_WAIT, d.bound) + tenancy.wait or state.now)
  end

  function tenancy.write()
    local list, lowest = { '' }, math.huge
    for i = 1, #tenancy.all do
      local t = tenancy.all[i]
      if (t.here or t.till > state.now) and t.turn < lowest then
        lowest = t.turn
      end
      list[i + 1] = string.format('%s=%.6f,%.9f,%.6f,%.6f;', t.name, t.weight, t.turn, t.till, t.second)
    end
    if lowest < math.huge then
      tenancy.floor = math.max(tenancy.floor, lowest)
    end
    list[1] = string.format('%.9f ', tenancy.floor)
    hash.put('y', table.concat(list), state.now + FORGET)
  end

  tenancy.count = -num()
  read_tenants()
  read_sent(tenancy.count)
end
