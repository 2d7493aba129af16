-- Part of the pool's script: permits.
--
-- While no other session waits for permits, a session takes what is free. Else a session's fair share is the permits
-- of all accounts that can be used, divided by the sessions that hold or wait. The first sessions in the queue that
-- have less get free permits set aside and a message; beyond its share, a session takes what isn't set aside.
--
-- Expects pool_report.lua. Leaves prepare, which makes account.permits and account.taken; room; serve_queue; mark_idle;
-- notified, the sessions that get a message.

local permit = {
  KEEP_ADAPTIVE = 0, SERVED = 0, EIGHT = 0, IDLE = 0, prepare = 0, contended = 0, free = 0, fair_share = 0,
  listed = 0, room = 0, notified = 0,
}

-- Where permits adapt, or other sessions wait for some.
lazily(permit, function()
  -- adapted returns how many permits an account has, where that follows its samples.
  function permit.adapted(account)
    local name, samples = 'd:' .. account.name, account.samples
    local text = hash.get(name)
    if text and not select(8, hash.numbers(string.match(text, permit.EIGHT))) then
      hash.broken(name)
      text = false
    end
    local limit = read_adaptive(text)
    if limit and state.now - limit.since / 1000000 >= permit.KEEP_ADAPTIVE then
      limit = nil
    end
    if not samples then
      return math.min(account.most, math.floor(limit and limit.limit or call.adaptive.initial))
    end
    local initial = call.adaptive.initial
    if samples.first > 0 then
      call.adaptive.initial = math.max(call.adaptive.min, samples.first)
    end
    local used = account.others + math.max(account.held, samples.peak)
    limit = adapt(limit, call.adaptive, samples.ok, samples.dropped, samples.total, used, account.most,
      math.floor(state.now * 1000000))
    call.adaptive.initial = initial
    hash.put(name, write_adaptive(limit), state.now + permit.KEEP_ADAPTIVE)
    return math.min(account.most, math.floor(limit.limit))
  end

  -- count_permits works out the free permits of accounts that can be used, and the fair share.
  function permit.count_permits()
    local all = 0
    permit.free = 0
    for i = 1, #permit.listed do
      local account = permit.listed[i]
      if account.idle <= state.now then
        all = all + account.permits
        permit.free = permit.free + math.max(0, account.permits - account.taken)
      end
    end
    permit.fair_share = math.ceil(all / (sessions.sums.contenders + 1))
  end

  -- mark_idle notes until when no call can use an account; 0: it can be used.
  function permit.mark_idle(account, till)
    if not call.permits_limited then
      return
    end
    permit.prepare(account)
    till = till > state.now and math.min(till, state.now + permit.IDLE) or 0
    if (account.idle > state.now) ~= (till > 0) then
      account.idle = till
      if permit.contended then
        permit.count_permits()
      end
    end
  end

  -- leave_queue takes a session, read as s, from the head of the queue.
  function permit.leave_queue(name, s)
    hash.drop(name)
    s.ticket = 0
    sessions.sums.queue = sessions.sums.queue - 1
  end

  -- serve_queue hands free permits to the sessions at the head of the queue: sets them aside for those below their
  -- share, up to it. The others move to the end, or if to_all, get a message too.
  function permit.serve_queue(to_all)
    local looked_at, unclaimed = 0, permit.free - sessions.sums.set_aside
    while unclaimed >= 1 and state.hold <= state.now and sessions.sums.first <= sessions.sums.last
      and looked_at < permit.SERVED do
      local ticket = sessions.sums.first
      local name = string.format('n:%.0f', ticket)
      local id = hash.get(name)
      local s = id and id ~= call.session and state.read_session('s:' .. id)
      sessions.sums.first = ticket + 1
      looked_at = looked_at + 1
      if not s or s.ticket ~= ticket then
        hash.drop(name)
      elseif s.sum < permit.fair_share or to_all then
        local give = math.min(s.want_permits, math.max(0, permit.fair_share - s.sum),
          permit.free - sessions.sums.set_aside)
        permit.leave_queue(name, s)
        s.set_aside, sessions.sums.set_aside = give, sessions.sums.set_aside + give
        unclaimed = unclaimed - math.max(1, give)
        permit.notified[#permit.notified + 1] = id
        sessions.write_session('s:' .. id, s)
      else
        hash.drop(name)
        sessions.sums.last = sessions.sums.last + 1
        s.ticket = sessions.sums.last
        hash.put(string.format('n:%.0f', s.ticket), id, state.now + call.ttl)
        sessions.write_session('s:' .. id, s)
      end
    end
  end
end)

permit.KEEP_ADAPTIVE = 600 -- seconds that an adaptive number of permits is kept
permit.SERVED = 8 -- sessions that one call looks at in the queue
permit.EIGHT = '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'
permit.IDLE = 5 -- seconds; an account that can't be used is looked at again after that

-- prepare works out the permits of an account, once.
function permit.prepare(account)
  if not account.ready then
    account.ready = true
    account.taken = sessions.others_of(account) + account.held
    account.permits = call.adaptive and permit.adapted(account) or account.most
  end
end

permit.contended = call.permits_limited and sessions.sums.queue > 0
permit.free, permit.fair_share, permit.listed = 0, 0, {}

if call.permits_limited then
  if call.adaptive then
    for i = 1, #targets.account_names do
      if targets.accounts[targets.account_names[i]].samples then
        permit.prepare(targets.accounts[targets.account_names[i]])
      end
    end
  end
  if permit.contended then
    for name, permits in string.gmatch(call.account_list, '([^=,]+)=(%d+)') do
      permit.listed[#permit.listed + 1] = targets.account_of(name, permits + 0)
      hash.want('h:' .. name)
      if call.adaptive then
        hash.want('d:' .. name)
      end
    end
    hash.fetch()
    for i = 1, #permit.listed do
      permit.prepare(permit.listed[i])
    end
    permit.count_permits()
  end
end

-- room returns how many permits this session may take now, of all accounts together.
function permit.room()
  if state.hold > state.now and call.permits_limited then
    return 0
  elseif not permit.contended then
    return math.huge
  end
  return math.max(permit.fair_share - targets.held_here, permit.free - sessions.sums.set_aside)
end

permit.notified = {}

if permit.contended then
  permit.serve_queue(false)
end
