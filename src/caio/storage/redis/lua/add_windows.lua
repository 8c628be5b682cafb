-- Put windows in place that the account has not had since it was rebuilt.
-- ARGV: epoch, packed windows, the time at which running calls count
if redis.call('HGET', account, 'epoch') ~= ARGV[1] then
  return {'overtaken'}
end
for name, window in pairs(cmsgpack.unpack(ARGV[2])) do
  local key = window_key(name)
  if redis.call('EXISTS', key) == 0 then
    fill(key, window)
    for id, amount in pairs(window.running) do
      local at = tonumber(ARGV[3])
      local kept, ending = redis.call('HGET', grants, id), redis.call('HGET', endings(), id)
      local grant = kept and cmsgpack.unpack(kept)
      if grant and holds(grant, window.subject) then
        grant.takes[#grant.takes + 1] = {key, window.subject, window.unit, amount, at}
        redis.call('HSET', grants, id, cmsgpack.pack(grant))
      elseif grant then
        give_back(key, at, amount)
      elseif ending then
        local tokens, compute = pair(ending)
        give_back(key, at, amount - math.min(amount, window.unit == 'tokens' and tokens or compute))
      end
    end
  end
end
return {'added'}
