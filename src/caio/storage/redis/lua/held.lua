-- Which of these calls a process holds that is here, or was a moment ago; all, while the server is too new to
-- know who is here.
-- ARGV: time, microseconds for which a process must be gone, grants...
local _, now = clock(ARGV[1])
local after = tonumber(ARGV[2])
local young = seen_at(now) + after > now
local found = {}
for place = 3, #ARGV do
  local kept = redis.call('HGET', grants, ARGV[place])
  if kept then
    local process = cmsgpack.unpack(kept).process
    local here = process ~= '' and tonumber(redis.call('ZSCORE', 'caio:processes:' .. server, process) or 0) or 0
    if process ~= '' and (young or here + after >= now) then
      found[#found + 1] = ARGV[place]
    end
  end
end
return found
