-- Put windows in place that the account has not had since it was rebuilt.
-- ARGV: epoch, packed windows
if redis.call('HGET', account, 'epoch') ~= ARGV[1] then
  return {'overtaken'}
end
for name, window in pairs(cmsgpack.unpack(ARGV[2])) do
  local key = window_key(name)
  if redis.call('EXISTS', key) == 0 then
    redis.call('RPUSH', key, digits(window.used) .. ':-1', unpack(window.blocks))
    lasts(key, window.span)
  end
end
return {'added'}
