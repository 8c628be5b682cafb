-- Hand an admitted call on: free what the service before held, take what the new one does, or change nothing.
-- ARGV: time, not after, process, grant, expires, price, budget, its share, processes, new service's subject, count of
-- slots, (subject, limit)..., count of windows, (name, subject, unit, amount, limit, span)...
-- The windows are those of the new service, and of tokens and compute of everybody.
local now, told = clock(ARGV[1])
if ARGV[2] ~= '' and told > tonumber(ARGV[2]) then
  return {'late'}
end
local processes = tonumber(ARGV[9])
local kept = redis.call('HGET', grants, ARGV[4])
if not kept or lost_at(now, processes > 0) then
  return {'ended'}
end
local grant = cmsgpack.unpack(kept)
local price, service, before = ARGV[6], ARGV[10], grant.subjects[3]
local away = away_of(processes, now)
local place = 11
local taken = {}
for index = 1, tonumber(ARGV[place]) do
  local subject, limit = ARGV[place + 1], tonumber(ARGV[place + 2])
  local running = tonumber(redis.call('HGET', slots, subject) or 0)
  local own = subject == before or subject == grant.subjects[1] or subject == grant.subjects[2]
  taken[index] = not own and running >= shared_part(limit, away, processes) and 1 or 0
  place = place + 2
end
place = place + 1

-- What the call holds already of a window is not asked for again.
local held = {}
for _, each in ipairs(grant.takes) do
  held[each[1]] = (held[each[1]] or 0) + each[4]
end
local past = tonumber(redis.call('HGET', account, 'past'))
local windows, waits = {}, {}
for index = 1, tonumber(ARGV[place]) do
  local window = {
    key = window_key(ARGV[place + 1]), subject = ARGV[place + 2], unit = ARGV[place + 3],
    amount = tonumber(ARGV[place + 4]), limit = tonumber(ARGV[place + 5]), span = tonumber(ARGV[place + 6]),
  }
  place = place + 6
  window.used, window.left = forget(window.key, now, window.span)
  if not window.used and now - window.span < past then
    return {'windows', redis.call('HGET', account, 'epoch'), digits(now)}
  end
  window.more = window.amount
  if window.unit ~= 'requests' then
    window.more = window.amount - (held[window.key] or 0)
  end
  waits[index] = 0
  if window.more > 0 then
    local limit = shared_part(window.limit, away, processes)
    waits[index] = wait_of(window.key, now, window.more, limit, window.span, window.used or 0)
  end
  windows[index] = window
end
local full = lacking(waits, taken)
if full then
  return full
end
local spent, reserved = spent_and_reserved(grant.period)
local dearer, extra = less(price, {grant.price})  -- a smaller price is never refused
local left = dearer > 0 and beyond_books(spent, reserved, extra)
if left then
  return {'budget', left}
end
if ARGV[7] ~= '' then
  local available = available_of(ARGV[7], ARGV[8], away, spent, reserved)
  local more = redis.call('HINCRBY', account, 'left', grant.price)
  if price ~= '0' then
    more = redis.call('HINCRBY', account, 'left', '-' .. price)
  end
  if more < 0 and dearer > 0 then
    return {'budget', available}
  end
end

redis.call('HSET', account, 'latest', digits(now))
local wanted = {}
for _, window in ipairs(windows) do
  wanted[window.key] = window
end
-- Newest first: of a window that needs less, what was taken last is freed first.
local takes, excess = {}, {}
for _, window in ipairs(windows) do
  if window.unit ~= 'requests' and window.more < 0 then
    excess[window.key] = -window.more
  end
end
for index = #grant.takes, 1, -1 do
  local each = grant.takes[index]
  local free = 0
  if each[2] == before and not (before == service and wanted[each[1]]) then
    free = each[4]
  elseif excess[each[1]] then
    free = math.min(excess[each[1]], each[4])
    excess[each[1]] = excess[each[1]] - free
  end
  give_back(each[1], each[5], free)
  if each[4] > free then
    table.insert(takes, 1, {each[1], each[2], each[3], each[4] - free, each[5]})
  end
end
for _, window in ipairs(windows) do
  if window.more > 0 then
    local used, left = forget(window.key, now, window.span)
    take(window.key, now, window.more, window.limit, window.span, used, left)
    if window.unit ~= 'requests' then
      takes[#takes + 1] = {window.key, window.subject, window.unit, window.more, now}
    end
  end
end
if service ~= before then
  release_slot(before)
  redis.call('HINCRBY', slots, service, 1)
end
subtract('reserved:' .. grant.period, grant.price)
add('reserved:' .. grant.period, price)
grant.process, grant.expires, grant.price, grant.takes = ARGV[3], tonumber(ARGV[5]), price, takes
grant.subjects[3] = service
redis.call('HSET', grants, ARGV[4], cmsgpack.pack(grant))
keep()
return {'granted', -1, '0'}
