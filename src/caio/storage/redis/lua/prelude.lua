-- What every step on one tenant's account begins with. A window is a list: "used:left" first, then its
-- blocks "units:newest", oldest first; the law is that of tenancy/rate_limit.py. Numbers are whole and
-- below 2^53, where a double is exact; money may be larger and is added by HINCRBY, from strings.
local account, grants, slots = KEYS[1], KEYS[2], KEYS[3]
local BLOCKS = 100
local BOOKS_HOLD = '9000000000000000000'  -- nano-units; that of metering/ledger.py
local DAYS = 3 * 86400  -- longer than any window: an account that expired has nothing to remember

-- New at every start and every promotion, so that an account tells whose state it is.
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')

local function digits(number)
  return string.format('%.0f', number)
end

-- The account's time, which never goes back, and the server's.
local function clock(given)
  local now = tonumber(given)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
  end
  return math.max(now, tonumber(redis.call('HGET', account, 'latest') or 0)), now
end

-- When this server was first seen by anybody.
local function seen_at(now)
  local key = 'caio:server:' .. server
  redis.call('SET', key, digits(now), 'NX', 'EX', 7 * 86400)
  return tonumber(redis.call('GET', key))
end

-- When it was noticed that the account's state cannot be relied on, or nil while it can.
local function lost_at(now, shared)
  local kept = redis.call('HMGET', account, 'server', 'built', 'lost')
  local since = nil
  if kept[1] ~= server then
    since = seen_at(now)
  end
  if kept[3] then
    since = math.max(since or 0, tonumber(kept[3]))
  end
  if shared then
    local joined = tonumber(redis.call('GET', 'caio:joined:' .. server) or -1)
    if joined >= tonumber(kept[2] or 0) then
      since = math.max(since or 0, joined)
    end
  end
  return since
end

local function pair(entry)
  local first, second = string.match(entry, '^(-?%d+):(-?%d+)$')
  return tonumber(first), tonumber(second)
end

local function entry(first, second)
  return digits(first) .. ':' .. digits(second)
end

local epoch = nil

local function window_key(name)
  epoch = epoch or redis.call('HGET', account, 'epoch') or '0'
  return account .. ':' .. epoch .. ':' .. name
end

-- Let go of what has left the window; what is used, and when the newest of what left was taken.
local function forget(key, now, span)
  local head = redis.call('LINDEX', key, 0)
  if not head then
    return nil
  end
  local used, left = pair(head)
  local gone = 0
  local oldest = redis.call('LINDEX', key, 1)
  while oldest do
    local units, newest = pair(oldest)
    if newest > now - span then
      break
    end
    used, left, gone = used - units, newest, gone + 1
    oldest = redis.call('LINDEX', key, gone + 1)
  end
  if gone > 0 then
    redis.call('LTRIM', key, gone, -1)
    redis.call('LSET', key, 0, entry(used, left))
  end
  return used, left
end

-- Microseconds until units more fit beside the used ones; 0 if they fit now.
local function wait_of(key, now, units, limit, span, used)
  local missing = units - (limit - used)
  if missing <= 0 then
    return 0
  elseif units > limit then
    return span
  end
  local wait = 0
  for _, block in ipairs(redis.call('LRANGE', key, 1, -1)) do
    local held, newest = pair(block)
    missing, wait = missing - held, newest + span - now
    if missing <= 0 then
      break
    end
  end
  return wait
end

-- Join neighbours that one block can hold: some were given back.
local function join(key, most)
  local joined = {}
  for _, block in ipairs(redis.call('LRANGE', key, 1, -1)) do
    local units, newest = pair(block)
    local last = joined[#joined]
    if last and last[1] + units <= most then
      last[1], last[2] = last[1] + units, newest
    elseif units > 0 then
      joined[#joined + 1] = {units, newest}
    end
  end
  redis.call('LTRIM', key, 0, 0)
  for _, block in ipairs(joined) do
    redis.call('RPUSH', key, entry(block[1], block[2]))
  end
end

local function lasts(key, span)
  redis.call('PEXPIRE', key, math.ceil(span / 1000) + 60000)
end

local function take(key, now, units, limit, span, used, left)
  if not used then
    used, left = 0, -1
    redis.call('RPUSH', key, '0:-1')
  end
  used = used + units
  local most = math.floor(limit / BLOCKS)
  local blocks = redis.call('LLEN', key) - 1
  local crowded = blocks > 2 * BLOCKS
  if crowded and used <= limit then
    join(key, most)
    blocks = redis.call('LLEN', key) - 1
    crowded = false
  end
  local held = blocks > 0 and pair(redis.call('LINDEX', key, -1))
  -- Only units taken under another limit can fill all blocks; then the last one takes what comes.
  if held and (crowded or held + units <= most) then
    redis.call('LSET', key, -1, entry(held + units, now))
  else
    redis.call('RPUSH', key, entry(units, now))
  end
  redis.call('LSET', key, 0, entry(used, left))
  lasts(key, span)
  return used
end

-- Free units of those taken at a time: from the first block that reaches to it.
local function give_back(key, at, units)
  local head = redis.call('LINDEX', key, 0)
  if not head or units <= 0 then
    return
  end
  local used, left = pair(head)
  if at <= left then
    return
  end
  local place = -1
  local block = redis.call('LINDEX', key, place)
  while block and place >= 1 - redis.call('LLEN', key) do
    local _, newest = pair(block)
    if newest < at then
      break
    end
    place = place - 1
    block = redis.call('LINDEX', key, place)
  end
  place = place + 1
  while place < 0 and units > 0 do
    local held, newest = pair(redis.call('LINDEX', key, place))
    local freed = math.min(units, held)
    redis.call('LSET', key, place, entry(held - freed, newest))
    used, units, place = used - freed, units - freed, place + 1
  end
  redis.call('LSET', key, 0, entry(used, left))
end

-- The budget less these amounts, in int64: its sign, and itself as a string.
local function less(budget, amounts)
  redis.call('HSET', account, 'left', budget)
  local sign = redis.call('HINCRBY', account, 'left', '0')
  for _, amount in ipairs(amounts) do
    if amount ~= '0' then
      sign = redis.call('HINCRBY', account, 'left', '-' .. amount)
    end
  end
  return sign, redis.call('HGET', account, 'left')
end

local function add(field, amount)
  if amount ~= '0' then
    redis.call('HINCRBY', account, field, amount)
  end
end

local function subtract(field, amount)
  if amount ~= '0' then
    redis.call('HINCRBY', account, field, '-' .. amount)
  end
end

local function spent_and_reserved(period)
  local books = redis.call('HMGET', account, 'spent:' .. period, 'reserved:' .. period)
  return books[1] or '0', books[2] or '0'
end

-- What the books can still hold, when that is less than an amount; sums beyond int64 would be an error.
local function beyond_books(spent, reserved, amount)
  -- Sums are exact only where it matters.
  if amount ~= '0' and tonumber(spent) + tonumber(reserved) + tonumber(amount) > 0.99 * tonumber(BOOKS_HOLD) then
    local _, left = less(BOOKS_HOLD, {spent, reserved})
    return less(left, {amount}) < 0 and left or nil
  end
  return nil
end

-- What is left of a budget beside the books, and beside the shares of those who may be admitting on their own.
local function available_of(budget, share, away, spent, reserved)
  local minus = {spent, reserved}
  for _ = 1, away do
    minus[#minus + 1] = share
  end
  local _, available = less(budget, minus)
  return available
end

local function release_slot(subject)
  if redis.call('HINCRBY', slots, subject, -1) <= 0 then
    redis.call('HDEL', slots, subject)
  end
end

-- How calls ended that ran when the account was built: for windows that are filled from before.
local function endings()
  epoch = epoch or redis.call('HGET', account, 'epoch') or '0'
  return account .. ':' .. epoch .. ':endings'
end

-- Fill a window from the records.
local function fill(key, window)
  redis.call('RPUSH', key, digits(window.used) .. ':-1', unpack(window.blocks))
  lasts(key, window.span)
end

local function holds(grant, subject)
  for _, each in ipairs(grant.subjects) do
    if each == subject then
      return true
    end
  end
  return false
end

local function keep()
  redis.call('EXPIRE', account, DAYS)
  redis.call('EXPIRE', grants, DAYS)
  redis.call('EXPIRE', slots, DAYS)
end

-- What has no room: how long each window makes wait, and 1 for each slot that is taken; nil when all have.
local function lacking(waits, taken)
  local told, any = {'full'}, false
  for _, wait in ipairs(waits) do
    told[#told + 1], any = digits(wait), any or wait > 0
  end
  for _, each in ipairs(taken) do
    told[#told + 1], any = digits(each), any or each > 0
  end
  return any and told or nil
end

-- How many processes may be admitting on their own, and what of a limit is then admitted here.
local function away_of(processes, now)
  if processes == 0 then
    return 0
  end
  return math.max(0, processes - redis.call('ZCOUNT', 'caio:processes:' .. server, '(' .. digits(now), '+inf'))
end

local function shared_part(limit, away, processes)
  if away == 0 then
    return limit
  end
  return limit - away * ((limit - limit % processes) / processes)
end
