-- Counts what the clients of a gateway use, and charges calls against the clients' caps.
--
-- A cap counts in windows of a minute and a day, in UTC by Redis' clock: at most so many units in each. All or nothing of a
-- charge is taken. A correction changes the windows that it was charged in, if they still run.
--
-- Expects core.lua.
--
-- KEYS  the gateway's hash, with these fields:
--         c:CLIENT            minute, day, then requests, tokens and micro-dollars of that minute, and of that day
--         u:DAY:CLIENT:MODEL  requests, input tokens, output tokens, micro-dollars
--         p:PROCESS           sequence number of the last call whose corrections and usage were applied, and its day
--         swept               the day on which old fields were last dropped
-- ARGV  1 now; empty: Redis' time  2 the process  3 sequence number of the corrections and usage  4 days to keep usage
--       5 number of corrections, each: client, minute, day, requests, tokens, micro-dollars (negative: refunds)
--       then the number of usages, each: client, model, requests, input tokens, output tokens, micro-dollars
--       then the number of charges, each: client, caps of requests, tokens and micro-dollars a minute, the same a day
--       (-1: none), the units of the charge, the units of a reserve to charge in addition while the caps are far (0: none)
-- Reply {minute, day, ms until the minute's end, ms until the day's end, a number for each charge}
--       0: charged, 1: charged with its reserve, 2 to 7: refused by the cap with this number less 1

local t = server_now(ARGV[1]) + EPOCH
local minute, day = math.floor(t / 60), math.floor(t / 86400)
local process, seq, keep = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = 4

local function take()
  at = at + 1
  return ARGV[at]
end

local function take_number()
  return tonumber(take()) or error('argument ' .. at .. ' is no number')
end

-- numbers returns the n numbers of a field, zeros for what isn't there.
local function numbers(field, n)
  local all = {}
  for word in string.gmatch(redis.call('HGET', KEYS[1], field) or '', '%S+') do
    all[#all + 1] = tonumber(word) or 0
  end
  for i = #all + 1, n do
    all[i] = 0
  end
  return all
end

local changed = {} -- numbers by field

local function read(field, n)
  changed[field] = changed[field] or numbers(field, n)
  return changed[field]
end

-- counts returns a client's numbers in the current windows.
local function counts(client)
  local c = read('c:' .. client, 8)
  if c[1] ~= minute then
    c[1], c[3], c[4], c[5] = minute, 0, 0, 0
  end
  if c[2] ~= day then
    c[2], c[6], c[7], c[8] = day, 0, 0, 0
  end
  return c
end

local last = read('p:' .. process, 2)
local fresh = seq > last[1]
last[1], last[2] = math.max(seq, last[1]), day

for _ = 1, take_number() do
  local c = counts(take())
  local of_minute, of_day = take_number(), take_number()
  for i = 3, 5 do
    local n = take_number()
    if fresh and of_minute == minute then
      c[i] = math.max(0, c[i] + n)
    end
    if fresh and of_day == day then
      c[i + 3] = math.max(0, c[i + 3] + n)
    end
  end
end

for _ = 1, take_number() do
  local client, model = take(), take()
  local u = read('u:' .. day .. ':' .. client .. ':' .. model, 4)
  for i = 1, 4 do
    local n = take_number()
    if fresh then
      u[i] = u[i] + n
    end
  end
end

-- refusing returns the number of the cap that a charge exceeds, a day's before a minute's; 0: none. part is the share of the
-- caps that may be used.
local function refusing(c, caps, units, part)
  for _, i in ipairs({4, 5, 6, 1, 2, 3}) do
    if caps[i] >= 0 and c[i + 2] + units[(i - 1) % 3 + 1] > caps[i] * part then
      return i
    end
  end
  return 0
end

local function add(c, units)
  for i = 1, 6 do
    c[i + 2] = c[i + 2] + units[(i - 1) % 3 + 1]
  end
end

local reply = {minute, day, math.floor((minute + 1) * 60000 - t * 1000), math.floor((day + 1) * 86400000 - t * 1000)}
for _ = 1, take_number() do
  local c = counts(take())
  local caps, units, more = {}, {}, {}
  for i = 1, 6 do
    caps[i] = take_number()
  end
  for i = 1, 3 do
    units[i] = take_number()
  end
  local wanted = 0
  for i = 1, 3 do
    more[i] = take_number()
    wanted = wanted + more[i]
  end
  local cap = refusing(c, caps, units, 1)
  if cap > 0 then
    reply[#reply + 1] = cap + 1
  else
    add(c, units)
    local granted = wanted > 0 and refusing(c, caps, more, 0.75) == 0
    if granted then
      add(c, more)
    end
    reply[#reply + 1] = granted and 1 or 0
  end
end

-- Old fields are dropped with the first call of a day.
local gone = {}
if redis.call('HGET', KEYS[1], 'swept') ~= string.format('%.0f', day) then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local of_day = tonumber(string.match(field, '^u:(%d+):'))
    if string.sub(field, 1, 2) == 'c:' or string.sub(field, 1, 2) == 'p:' then
      of_day = (changed[field] or numbers(field, 2))[2]
      if of_day >= day - 1 then
        of_day = day
      end
    end
    if of_day and of_day <= day - keep and not changed[field] then
      gone[#gone + 1] = field
    end
  end
end

local write = {'HSET', KEYS[1], 'swept', string.format('%.0f', day)}
for field, all in pairs(changed) do
  local text = {}
  for i, n in ipairs(all) do
    text[i] = string.format('%.0f', n)
  end
  write[#write + 1] = field
  write[#write + 1] = table.concat(text, ' ')
end
redis.call(unpack(write))
for i = 1, #gone, 1000 do
  redis.call('HDEL', KEYS[1], unpack(gone, i, math.min(i + 999, #gone)))
end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', (keep + 1) * 86400000))
return reply
