-- Note what processes tell of their breakers, in the order of this server's time.
-- KEYS: content by name, names by time; ARGV: seconds to keep it, then names and contents in turn
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for place = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
  redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[place])
end
local old = string.format('%.0f', now - ARGV[1] * 1000000)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', old, 'LIMIT', 0, 1000)) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return {}
