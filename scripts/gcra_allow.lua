-- Operation a of gcra.lua alone, on one limit. It is most of the work of a Redis that serves single calls, so it is one
-- straight line without functions.
--
-- Expects nothing.
--
-- KEYS  the limit's state, as in gcra.lua
-- ARGV  1 count  2 interval  3 burst  4 cost  5 known state  6 deadline  7 now, for tests; all as in gcra.lua
-- Reply as in gcra.lua: {now, TAT-now, given back, calls admitted}

local call, key = redis.call, KEYS[1]

local now_us
if ARGV[7] then
  now_us = tonumber(ARGV[7])
else
  local t = call('TIME')
  now_us = (t[1] - 1483228800) * 1000000 + t[2]
end
if ARGV[6] ~= '0' and now_us > tonumber(ARGV[6]) then
  return redis.error_reply('LATE the deadline has passed')
end
local now = now_us / 1000000

local text, known = call('GET', key), ARGV[5]
local absent = not text
local tat, back, restored = now, 0, false
if text then
  tat = tonumber(text)
  if not tat or tat - tat ~= 0 then
    return redis.error_reply('WRONGTYPE Key holds text that is not the state of a rate limit')
  end
  if #text > 24 then
    back = tonumber(string.sub(text, -15))
    if not back then
      return redis.error_reply('WRONGTYPE Key holds text that is not the state of a rate limit')
    end
  end
end
if known ~= '' and known ~= text then
  local later, later_back = tonumber(known), 0
  if #known > 24 then
    later_back = tonumber(string.sub(known, -15))
  end
  local newer = (later_back - back) % 1e15
  if later > now and newer < 5e14 and (later > tat or newer > 0) then
    if later > tat then
      tat = later
    end
    back, restored = later_back, true
  end
end

local ahead = 0
if tat > now then
  ahead = tat - now
  if ahead > 9e9 then
    ahead = 9e9
  end
end
local interval = tonumber(ARGV[2])
local units = ahead / interval
local whole = units + 0.5
whole = whole - whole % 1
local off = ahead - whole * interval
if off < 1.5e-7 and off > -1.5e-7 then
  units = whole
end

local fit, cost, room = tonumber(ARGV[1]), tonumber(ARGV[4]), ARGV[3] - units
if room < 0 then
  fit = 0
elseif cost > 0 then
  room = room / cost
  if room < fit then
    fit = room - room % 1
  end
end

if restored or fit > 0 and cost > 0 then
  local after = ahead
  if fit > 0 and cost > 0 then
    after = (units + fit * cost) * interval
  end
  local ms = math.ceil(after * 1000)
  if ms < 1 then
    ms = 1
  end
  if back == 0 then
    text = string.format('%.17g', now + after)
  else
    local ttl = call('PTTL', key)
    if ttl > ms then
      ms = ttl
    end
    text = string.format('%.8f%015.0f', now + after, back)
  end
  call('SET', key, text, 'PX', string.format('%.0f', ms))
end
local ns = math.floor(ahead * 1000000000 + 0.5)
if restored and absent then
  ns = -1 - ns
end
return {now_us, ns, back, fit}
