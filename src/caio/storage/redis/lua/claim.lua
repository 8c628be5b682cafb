-- Who rebuilds a lost account: the first to ask after all that was admitted before the loss is durable.
-- ARGV: time, durable, token, 1 for an account that is shared with processes on their own, ? for one that may be
local now = clock(ARGV[1])
local since = lost_at(now, ARGV[4] == '1')
if not since then
  return {'stands'}
end
since = lost_at(now, ARGV[4] ~= '0')  -- once it is built nobody asks any more who joined before
local wait = since + tonumber(ARGV[2]) - now
if wait > 0 then
  return {'wait', digits(wait)}
end
if not redis.call('SET', account .. ':builder', ARGV[3], 'NX', 'PX', 10000) then
  return {'wait', '100000'}
end
local running = {}
if redis.call('HGET', account, 'server') == server then
  running = redis.call('HKEYS', grants)
end
return {'build', digits(since), digits(now), running}
