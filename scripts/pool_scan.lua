-- Part of the pool's script: fields that are over are dropped, so that nothing of former accounts, keys, models,
-- limits and sessions is left behind. A call looks at a few fields, at most every SCAN_EVERY seconds.
--
-- Field c: the cursor of HSCAN; how many fields were found unreadable.
--
-- Expects pool_admit.lua. Leaves nothing.

local scan = {
  IDLE_KEPT = 0
}

local SCAN_EVERY, SCANNED = 0.1, 10
-- For how long a counter is kept after its theoretical arrival time, since a cost above the burst needs it to have
-- been idle for long; a count after its end, in case Redis' clock is set back; and the round robin of a target.
scan.IDLE_KEPT = 7200

if state.now >= state.scan_at or hash.unreadable > 0 then -- most calls don't need the functions either
  -- over_of returns until when a field is needed, by the letter that its name begins with; nothing if it is unreadable.
  local over_of = {}
  function over_of.t(value)
    local a, b, c, d, e, f = hash.numbers(string.match(value, '^c (%S+) (%S+)$'))
    if b then
      return a + state.offset + scan.IDLE_KEPT
    end
    a = hash.numbers(value)
    if a then
      return a + scan.IDLE_KEPT
    end
    a, b, c, d, e, f = hash.numbers(string.match(value, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'))
    return f and math.max(a + scan.IDLE_KEPT, b > 0 and c or 0, d < 1 and e + f or 0)
  end
  function over_of.k(value)
    local till, kind, length = blocking.parse(value)
    return till and till + (kind ~= 'cool' and counting.DAY or length > 0 and math.max(length, blocking.REPEATED) or 0)
  end
  over_of.a, over_of.m = over_of.k, over_of.k
  function over_of.s(_, name)
    local s = state.read_session(name)
    return s and (s.waiting + s.sum > 0 and math.huge or s.ends) or math.huge -- an unreadable one is gone by now
  end
  function over_of.n(id, name)
    local s = state.read_session('s:' .. id)
    return s and name == string.format('n:%.0f', s.ticket) and math.huge or 0
  end
  function over_of.h(value)
    local taken, idle = hash.numbers(string.match(value, '^(%S+) (%S+)$'))
    return taken and (taken > 0 and math.huge or idle)
  end
  function over_of.r(value)
    local _, _, at = hash.numbers(string.match(value, '^(%S+) (%S+) (%S+)$'))
    return at and at + scan.IDLE_KEPT
  end
  function over_of.d(value)
    local _, _, since = hash.numbers(string.match(value, permit.EIGHT))
    return since and since / 1000000 + permit.KEEP_ADAPTIVE
  end

  local cursor, found = 0, 0
  if hash.get('c') then
    cursor, found = hash.numbers(string.match(hash.get('c'), '^(%S+) (%S+)$'))
    if not found then
      cursor, found = 0, 0
      hash.broken('c')
    end
  end
  if state.now >= state.scan_at then
    state.scan_at = state.now + SCAN_EVERY
    local some = redis.call('HSCAN', hash.key, string.format('%.0f', cursor), 'COUNT', SCANNED)
    cursor = tonumber(some[1])
    for i = 1, #some[2], 2 do
      local name, value = some[2][i], some[2][i + 1]
      local over = string.sub(name, 2, 2) == ':' and over_of[string.sub(name, 1, 1)]
      if over and not hash.is_put[name] and hash.field[name] ~= '' and name ~= targets.own_field and (hash.field[name] ~= false) then
        hash.field[name] = value
        local at = over(value, name)
        if not at then
          hash.broken(name)
        elseif at <= state.now then
          hash.drop(name)
        end
      end
    end
  end
  hash.put('c', string.format('%.0f %.0f', cursor, found + hash.unreadable), state.now)
end
