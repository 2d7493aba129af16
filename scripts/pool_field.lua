-- Part of the pool's script: the fields of the HASH. They are read when they are needed, many at a time, and written
-- at the end, all at once.
--
-- Expects pool.lua. Leaves field, the fields as they are or will be (false: there is none); want, fetch and get; put,
-- drop and broken; numbers; needed, until when the state is.

local hash = {
  PIECE = 0, key = 0, field = 0, wanted = 0, n_wanted = 0, want = 0, fetch = 0, get = 0, needed = 0, is_put = 0,
  put_names = 0, n_puts = 0, dropped = 0, put = 0, drop = 0, unreadable = 0, broken = 0, numbers = 0
}

hash.PIECE = 1000 -- elements in one command: Lua's stack holds 8,000

hash.key = KEYS[1]
hash.field, hash.wanted, hash.n_wanted = {}, {}, 0
for i = 1, #known_names do
  hash.field[known_names[i]] = known_values[i]
end

-- want adds a field to those that fetch reads.
function hash.want(name)
  if hash.field[name] == nil then
    hash.field[name] = false
    hash.n_wanted = hash.n_wanted + 1
    hash.wanted[hash.n_wanted] = name
  end
end

-- fetch reads the fields that are wanted.
function hash.fetch()
  for from = 1, hash.n_wanted, hash.PIECE do
    local to = math.min(from + hash.PIECE - 1, hash.n_wanted)
    local piece = redis.call('HMGET', hash.key, unpack(hash.wanted, from, to))
    for i = from, to do
      hash.field[hash.wanted[i]] = piece[i - from + 1]
    end
  end
  hash.wanted, hash.n_wanted = {}, 0
end

-- get returns a field's value, or false.
function hash.get(name)
  local value = hash.field[name]
  if value == nil then
    value = redis.call('HGET', hash.key, name)
    hash.field[name] = value
  end
  return value
end

hash.needed = 0
hash.is_put, hash.put_names, hash.n_puts, hash.dropped = {}, {}, 0, {}

-- put writes a field that is needed until some time.
function hash.put(name, value, needed_until)
  if not hash.is_put[name] then
    hash.is_put[name] = true
    hash.n_puts = hash.n_puts + 1
    hash.put_names[hash.n_puts] = name
  end
  hash.field[name] = value
  if hash.needed < needed_until then
    hash.needed = needed_until
  end
end

function hash.drop(name)
  if hash.get(name) then
    hash.dropped[#hash.dropped + 1] = name
    hash.field[name] = false
  end
end

hash.unreadable = 0 -- fields

-- broken drops a field that can't be read. To the rest of the script it is absent.
function hash.broken(name)
  hash.unreadable = hash.unreadable + 1
  hash.drop(name)
end

-- numbers returns its arguments, which are text, as numbers; nothing if one is none.
function hash.numbers(...)
  local all = { ... }
  for i = 1, #all do
    local n = tonumber(all[i])
    if not n or n - n ~= 0 then
      return nil
    end
    all[i] = n
  end
  return unpack(all)
end
