-- A process says until when it is here, in this server's time; a name that is new may stand for one that
-- died while it admitted on its own, so accounts that share their limits are rebuilt.
-- ARGV: process, until ('' only to learn the time), 1 to take leave
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local role = string.match(redis.call('INFO', 'replication'), 'role:(%a+)')
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local digits = string.format('%.0f', now)
local processes, spare = 'caio:processes:' .. server, 'caio:spare:' .. server
if role ~= 'master' then
  return {server, digits, 0, role}
end
redis.call('SET', 'caio:server:' .. server, digits, 'NX')
redis.call('EXPIRE', 'caio:server:' .. server, 7 * 86400)
if ARGV[3] == '1' then
  if redis.call('ZREM', processes, ARGV[1]) == 1 then
    redis.call('INCR', spare)
    redis.call('EXPIRE', spare, 7 * 86400)
  end
elseif ARGV[2] ~= '' then
  local known = redis.call('ZSCORE', processes, ARGV[1])
  if not known then
    if tonumber(redis.call('GET', spare) or 0) > 0 then
      redis.call('DECR', spare)
    else
      redis.call('SET', 'caio:joined:' .. server, digits, 'EX', 7 * 86400)
    end
  end
  redis.call('ZREMRANGEBYSCORE', processes, '-inf', string.format('%.0f', now - 7 * 86400 * 1000000))
  redis.call('ZADD', processes, 'GT', ARGV[2], ARGV[1])
  redis.call('EXPIRE', processes, 7 * 86400)
end
return {server, digits, redis.call('ZCOUNT', processes, '(' .. digits, '+inf'), role}
