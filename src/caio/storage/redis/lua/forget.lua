-- Drops the account of a tenant that is gone; its windows expire by themselves, a day later at the latest.
-- KEYS: the account's; ARGV: the tenant
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
redis.call('SREM', 'caio:accounts', ARGV[1])
return {'forgotten'}
