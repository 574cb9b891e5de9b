"""The Lua scripts of `RedisState`: what has to happen in one step where the data is.

Each touches one key (but READ, which only reads), and says on the channel which key changed.
"""

from __future__ import annotations

# Any write command on one key. KEYS: key. ARGV: channel, notice, command, arguments...
WRITE = """
local reply = redis.call(ARGV[3], KEYS[1], unpack(ARGV, 4))
redis.call('PUBLISH', ARGV[1], ARGV[2])
return reply
"""

# KEYS: key. ARGV: channel, notice, expected text, new text. 'null' stands for no key, too.
COMPARE_AND_SET = """
if (redis.call('GET', KEYS[1]) or 'null') ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
"""

# KEYS: keys. Gives for each: type, remaining time in ms (below 0: none), text or flat hash.
READ = """
local found = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local content = ''
  if kind == 'string' then content = redis.call('GET', key) end
  if kind == 'hash' then content = redis.call('HGETALL', key) end
  found[i] = {kind, redis.call('PTTL', key), content}
end
return found
"""

# KEYS: lease. ARGV: ttl_ms, remember_ms, holder, heir_of.
# Gives {token, 0} or {0, ms that the present grant has left}.
# What is held in the name of `holder` is granted anew, and what in a name that begins with `heir_of`;
# '' is nobody's name.
# The token is at least the server's clock, so that it grows although the server lost its data, and
# at least one more than the last, so that it grows although the clock was set back.
GRANT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'token', 'until_ms', 'holder')
local left = (tonumber(held[2]) or 0) - now
local holder = held[3] or ''
local own = holder ~= '' and holder == ARGV[3]
local heir = ARGV[4] ~= '' and string.sub(holder, 1, #ARGV[4]) == ARGV[4]
if left > 0 and not own and not heir then return {0, left} end
local token = math.max((tonumber(held[1]) or 0) + 1, now)
local text = function(number) return string.format('%.0f', number) end
redis.call('HSET', KEYS[1], 'token', text(token), 'until_ms', text(now + ARGV[1]), 'holder', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1] + ARGV[2])
return {token, 0}
"""

# KEYS: lease. ARGV: token, ttl_ms, remember_ms. Gives 1 where the token is still the newest.
RENEW = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'until_ms', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2] + ARGV[3])
return 1
"""

# KEYS: lease. ARGV: channel, notice, token.
RELEASE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'until_ms', '0')
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
"""
