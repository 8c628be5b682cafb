-- Calls whose process has been gone for a while, or that have surely ended.
-- ARGV: time, microseconds for which a process must be gone
local now = clock(ARGV[1])
if redis.call('EXISTS', account) == 0 then
  redis.call('SREM', 'caio:accounts', string.match(account, '^{caio:(.*)}:account$'))
  return {}
end
local found = {}
local held = redis.call('HGETALL', grants)
for place = 1, #held, 2 do
  local grant = cmsgpack.unpack(held[place + 1])
  local until_ = nil
  if grant.process ~= '' then
    -- On a server that has just come nobody has said yet that it is here.
    until_ = tonumber(redis.call('ZSCORE', 'caio:processes:' .. server, grant.process) or seen_at(now))
  end
  if grant.expires < now or (until_ and until_ + tonumber(ARGV[2]) < now) then
    found[#found + 1] = {held[place], grant.process, grant.price, digits(grant.expires)}
  end
end
return found
