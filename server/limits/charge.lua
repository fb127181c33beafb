-- Charges demands to the limits of one API key, all or none: the arithmetic of window.py.
-- KEYS[1]: a hash with the windows of the key, by the limit's name.
-- ARGV: the time or '' for the server's; then per demand name, seconds, most, amount, forced (0 or
-- 1), span or ''. Returns the number of the refused demand or 0, the time, and the windows.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local refused, demands, longest = 0, {}, 0
for at = 2, #ARGV, 6 do
  local name, seconds, most = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local demand = {name = name, amount = tonumber(ARGV[at + 3]), from = tonumber(ARGV[at + 5])}
  local stored = redis.call('HGET', KEYS[1], name)
  local span, current, previous = 0, 0, 0
  if stored then
    local a, b, c = string.match(stored, '^(%S+) (%S+) (%S+)$')
    span, current, previous = tonumber(a), tonumber(b), tonumber(c)
  end
  local present = math.floor(now / seconds)
  if present > span then
    local left = current - (present - span - 1) * most
    current, previous = math.max(0, left - most), math.min(math.max(0, left), most)
    span = present
  end
  local elapsed = math.min(math.max(now / seconds - span, 0), 1)
  local used = previous * (1 - elapsed) + current
  if ARGV[at + 4] == '0' and refused == 0 and used + math.max(demand.amount, 1) > most + 0.000001 then
    refused = (at + 4) / 6
  end
  demand.span, demand.current, demand.previous = span, current, previous
  demand.seconds, demand.most = seconds, most
  demands[#demands + 1] = demand
end
local result = {refused, string.format('%.6f', now)}
for _, demand in ipairs(demands) do
  if refused == 0 then
    if demand.amount >= 0 then
      demand.current = demand.current + demand.amount
    elseif demand.from == demand.span then
      demand.current = math.max(0, demand.current + demand.amount)
    elseif demand.from == demand.span - 1 then
      demand.previous = math.max(0, demand.previous + demand.amount)
    end
    local window = string.format('%.0f %.17g %.17g', demand.span, demand.current, demand.previous)
    redis.call('HSET', KEYS[1], demand.name, window)
    longest = math.max(longest, (math.ceil(demand.current / demand.most) + 2) * demand.seconds)
  end
  result[#result + 1] = string.format('%.0f', demand.span)
  result[#result + 1] = string.format('%.17g', demand.current)
  result[#result + 1] = string.format('%.17g', demand.previous)
end
longest = math.min(longest, 2592000) -- budgets of sessions, idle for 30 days
if refused == 0 and redis.call('TTL', KEYS[1]) < longest then
  redis.call('EXPIRE', KEYS[1], longest)
end
return result
