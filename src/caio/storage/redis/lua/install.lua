-- Put an account in place that was read from the durable records.
-- ARGV: time, token, since (as claimed), shared, period, packed {spent, past, at, grants, kept, windows}, tenant
local now = clock(ARGV[1])
local builder = account .. ':builder'
local since = lost_at(now, ARGV[4] ~= '0')
if redis.call('GET', builder) ~= ARGV[2] or not since or digits(since) ~= ARGV[3] then
  return {'overtaken'}
end
local past = cmsgpack.unpack(ARGV[6])
local held = {}
for _, grant in ipairs(past.grants) do
  local before = redis.call('HGET', grants, grant.id)
  if before then
    held[grant.id] = cmsgpack.unpack(before)
  end
end
local kept = {}
for _, id in ipairs(past.kept) do
  local grant = redis.call('HGET', grants, id)
  if grant then
    kept[id] = cmsgpack.unpack(grant)
  end
end
epoch = ARGV[2]  -- unlike any before, so that nobody takes windows of another building for these
redis.call('DEL', account, grants, slots, builder)
redis.call('HSET', account, 'server', server, 'built', digits(now), 'latest', digits(now), 'epoch', epoch,
  'period', ARGV[5], 'past', digits(past.past), 'spent:' .. ARGV[5], past.spent)
local takes = {}
for name, window in pairs(past.windows) do
  local key = window_key(name)
  fill(key, window)
  for id, amount in pairs(window.running) do
    takes[id] = takes[id] or {}
    table.insert(takes[id], {key, window.subject, window.unit, amount, past.at})
  end
end
for _, grant in ipairs(past.grants) do
  local known = held[grant.id] or {}
  for _, subject in ipairs(grant.subjects) do
    redis.call('HINCRBY', slots, subject, 1)
  end
  add('reserved:' .. grant.period, grant.price)
  redis.call('HSET', grants, grant.id, cmsgpack.pack({
    process = known.process or '', expires = known.expires or grant.expires, price = grant.price,
    period = grant.period, subjects = grant.subjects, takes = takes[grant.id] or {}, built = true,
  }))
end
-- Calls that this server knows and the records do not (yet): whoever admitted them will settle them.
for _, id in ipairs(past.kept) do
  local grant = kept[id]
  if grant then
    grant.period, grant.takes = ARGV[5], {}
    for _, subject in ipairs(grant.subjects) do
      redis.call('HINCRBY', slots, subject, 1)
    end
    add('reserved:' .. grant.period, grant.price)
    redis.call('HSET', grants, id, cmsgpack.pack(grant))
  end
end
redis.call('SADD', 'caio:accounts', ARGV[7])
keep()
return {'installed', epoch}
