-- Take every window, every slot and the money, or nothing.
-- ARGV: time, not after, durable, process, grant, expires, price, budget, its share, period, processes,
-- tenant's, caller's and service's subject, count of slots, (subject, limit)..., count of windows,
-- (name, subject, unit, amount, limit, span)...
local now, told = clock(ARGV[1])
if ARGV[2] ~= '' and told > tonumber(ARGV[2]) then
  return {'late'}
end
local processes = tonumber(ARGV[11])
local since = lost_at(now, processes > 0)
if since then
  return {'lost', digits(since), digits(now)}
end
local grant, price, period = ARGV[5], ARGV[7], ARGV[10]
if redis.call('HEXISTS', grants, grant) == 1 then
  return {'twice'}
end

-- Months only follow each other; a process whose clock is behind counts for the newer one. Any other change
-- of the period needs what was spent in it.
local known = redis.call('HMGET', account, 'period', 'past', 'built')
if period ~= known[1] then
  if period == 'total' or known[1] == 'total' then
    redis.call('HSET', account, 'lost', digits(now))
    return {'lost', digits(now), digits(now)}
  elseif period < known[1] then
    period = known[1]
  end
end

local away = away_of(processes, now)
local place = 15
local taken = {}
for index = 1, tonumber(ARGV[place]) do
  local subject, limit = ARGV[place + 1], tonumber(ARGV[place + 2])
  local running = tonumber(redis.call('HGET', slots, subject) or 0)
  taken[index] = running >= shared_part(limit, away, processes) and 1 or 0
  place = place + 2
end
place = place + 1
local windows = {}
local waits = {}
for index = 1, tonumber(ARGV[place]) do
  local window = {
    key = window_key(ARGV[place + 1]), subject = ARGV[place + 2], unit = ARGV[place + 3],
    amount = tonumber(ARGV[place + 4]), limit = tonumber(ARGV[place + 5]), span = tonumber(ARGV[place + 6]),
  }
  place = place + 6
  window.used, window.left = forget(window.key, now, window.span)
  if not window.used and now - window.span < tonumber(known[2]) then
    return {'windows', redis.call('HGET', account, 'epoch'), digits(now)}
  end
  local limit = shared_part(window.limit, away, processes)
  waits[index] = wait_of(window.key, now, window.amount, limit, window.span, window.used or 0)
  windows[index] = window
end
local full = lacking(waits, taken)
if full then
  return full
end
local spent, reserved = spent_and_reserved(period)
local left = beyond_books(spent, reserved, price)
if left then
  return {'budget', left}
end
if ARGV[8] ~= '' then
  local available = available_of(ARGV[8], ARGV[9], away, spent, reserved)
  if less(available, {price}) < 0 and price ~= '0' then
    return {'budget', available}
  end
end

if period ~= known[1] then
  redis.call('HSET', account, 'period', period)
end
redis.call('HSET', account, 'latest', digits(now))
local takes = {}
local tightest, room = -1, 0
for index, window in ipairs(windows) do
  local used = take(window.key, now, window.amount, window.limit, window.span, window.used, window.left)
  if window.unit ~= 'requests' then
    takes[#takes + 1] = {window.key, window.subject, window.unit, window.amount, now}
  elseif window.subject == 'tenant' then
    local left = window.limit - used
    if tightest < 0 or left < room then
      tightest, room = index - 1, left
    end
  end
end
local subjects = {ARGV[12], ARGV[13], ARGV[14]}
for _, subject in ipairs(subjects) do
  redis.call('HINCRBY', slots, subject, 1)
end
add('reserved:' .. period, price)
redis.call('HSET', grants, grant, cmsgpack.pack({
  process = ARGV[4], expires = tonumber(ARGV[6]), price = price, period = period, subjects = subjects, takes = takes,
}))
keep()
local frees = 0
if tightest >= 0 then
  local window = windows[tightest + 1]
  local _, newest = pair(redis.call('LINDEX', window.key, 1))
  frees = newest + window.span - now
end
return {'granted', tightest, digits(math.max(0, room)), digits(frees)}
