-- What was told at a time or later, and the time of the last of it. What is as old as that is given again:
-- two may tell at one time.
-- KEYS: content by name, names by time; ARGV: the time, how many at most
local rows = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local answer = {ARGV[1]}
for place = 1, #rows, 2 do
  answer[1] = rows[place + 1]
  local content = redis.call('HGET', KEYS[1], rows[place])
  if content then
    answer[#answer + 1] = content
  end
end
return answer
