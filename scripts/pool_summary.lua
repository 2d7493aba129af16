-- Stores a process's summary of its part in a pool, for people who look at the pool. No other script depends on it.
--
-- Expects core.lua.
--
-- KEYS   a HASH beside the pool's
-- ARGV   1 session  2 seconds for which the summary is kept  3 digest of the configuration
--        4 the configuration, or empty: it is stored already, or the reply asks for it  5 the summary
-- Reply  {1 if the configuration is missing, else 0}
--
-- Fields: s:SESSION the summary; t:SESSION when it was stored, until when it is kept (seconds since 2017), and the
-- digest; c:DIGEST a configuration; sweep when summaries are looked through next. Summaries that aren't renewed go at
-- that time, and configurations that no summary names.

local key, session, digest = KEYS[1], ARGV[1], ARGV[3]
local kept = tonumber(ARGV[2])
local now = server_now('')
local SWEEP_EVERY = 60

-- sweep drops what isn't needed any more.
local function sweep()
  local names, stamps = redis.call('HKEYS', key), {}
  for _, name in ipairs(names) do
    if string.sub(name, 1, 2) == 't:' then
      stamps[#stamps + 1] = name
    end
  end
  local used = {}
  for _, name in ipairs(stamps) do
    local till, of = string.match(redis.call('HGET', key, name) or '', '^%S+ (%S+) (%S+)$')
    if till and tonumber(till) > now then
      used['c:' .. of] = true
    else
      redis.call('HDEL', key, name, 's:' .. string.sub(name, 3))
    end
  end
  for _, name in ipairs(names) do
    if string.sub(name, 1, 2) == 'c:' and not used[name] then
      redis.call('HDEL', key, name)
    end
  end
end

redis.call('HSET', key, 's:' .. session, ARGV[5], 't:' .. session, string.format('%.17g %.17g %s', now, now + kept, digest))
if ARGV[4] ~= '' then
  redis.call('HSET', key, 'c:' .. digest, ARGV[4])
end
if (tonumber(redis.call('HGET', key, 'sweep') or '0') or 0) <= now then
  sweep()
  redis.call('HSET', key, 'sweep', string.format('%.17g', now + SWEEP_EVERY))
end
redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(kept * 1000)))
return {redis.call('HGET', key, 'c:' .. digest) and 0 or 1}
