-- Calls were admitted elsewhere: what the account holds is not all there is.
-- ARGV: time
redis.call('HSET', account, 'lost', digits(clock(ARGV[1])))
keep()
return {'lost'}
