-- End a call: book what it used, free the rest and its slots.
-- ARGV: time, grant, charged, tokens, compute, 1 for an account that is shared with processes on their own
local now = clock(ARGV[1])
if lost_at(now, ARGV[6] == '1') then
  return {'lost'}  -- whoever rebuilds the account may still find the call running: settle again then
end
local kept = redis.call('HGET', grants, ARGV[2])
if not kept then
  return {'unknown'}
end
local grant = cmsgpack.unpack(kept)
local charged = ARGV[3]
if less(grant.price, {charged}) < 0 then
  charged = grant.price
end
redis.call('HDEL', grants, ARGV[2])
for _, subject in ipairs(grant.subjects) do
  release_slot(subject)
end
local booked = {}
for _, taken in ipairs(grant.takes) do
  local key, unit, amount = taken[1], taken[3], taken[4]
  local used = booked[key] or tonumber(unit == 'tokens' and ARGV[4] or ARGV[5])
  local stays = math.min(amount, used)
  booked[key] = used - stays
  give_back(key, taken[5], amount - stays)
end
if grant.built then
  redis.call('HSET', endings(), ARGV[2], ARGV[4] .. ':' .. ARGV[5])
  redis.call('EXPIRE', endings(), DAYS)
end
subtract('reserved:' .. grant.period, grant.price)
add('spent:' .. grant.period, charged)
return {'settled'}
