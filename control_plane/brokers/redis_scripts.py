"""What must happen in one step on the server, as Lua scripts.

Each runs by its digest, and by its text where the server does not know it yet. KEYS[1] is always the
stream and KEYS[2] its ledger: a hash with `{group}:acked`, `{group}:dead` and `{group}:missed`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """A Lua script and its digest."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


# ARGV: max_len, keep, abandoned_ms, field, value, ...   Returns the id, or {the group that is behind}.
# What may go is everything below the first entry that some group still needs. Ids are compared as pairs
# of numbers: as text, "9-0" would come after "10-0".
APPEND = Script(
    """
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function below(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end
local function after(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return ms .. '-' .. string.format('%d', tonumber(seq) + 1)
end
local function info(reply)
  local map = {}
  for i = 1, #reply, 2 do map[reply[i]] = reply[i + 1] end
  return map
end

-- A broadcast group ({component}.{replica}) whose replica is gone for good must not fill the stream for ever.
-- Should it come back after all, its group is made anew at the first entry, so nothing is skipped.
local function abandoned(name)
  if not string.find(name, '.', 1, true) then return false end
  local consumers = redis.call('XINFO', 'CONSUMERS', KEYS[1], name)
  for _, reply in ipairs(consumers) do
    if info(reply)['idle'] < tonumber(ARGV[3]) then return false end
  end
  redis.call('XGROUP', 'DESTROY', KEYS[1], name)
  return true
end

local function needed_from()
  local first, who, most = nil, nil, 0
  for _, reply in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = info(reply)
    if not abandoned(group['name']) then
      local from = after(group['last-delivered-id'])
      if group['pending'] > 0 then
        from = redis.call('XPENDING', KEYS[1], group['name'])[2]
      end
      if not first or below(from, first) then first, who = from, group['name'] end
      local open = group['pending'] + (tonumber(group['lag']) or 0)
      if open > most then most = open end
    end
  end
  return first, who, most
end

local max_len, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local length = redis.call('XLEN', KEYS[1])
if length >= max_len then
  local first, who, most = needed_from()
  if not first then
    redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', max_len - 1)
  else
    local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
    if not below(oldest, first) then return {who} end
    if most < keep then
      local kept = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', keep)
      if #kept > 0 and below(kept[#kept][1], first) then first = kept[#kept][1] end
    end
    redis.call('XTRIM', KEYS[1], 'MINID', '=', first)
  end
end
return redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
"""
)

# ARGV: group. A group made anew counts from nothing, and answers for the entries there are.
ENSURE_GROUP = Script(
    """
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    if group[2] == ARGV[1] then return 0 end
  end
end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
local stream = redis.call('XINFO', 'STREAM', KEYS[1])
local map = {}
for i = 1, #stream, 2 do map[stream[i]] = stream[i + 1] end
redis.call('HDEL', KEYS[2], ARGV[1] .. ':acked', ARGV[1] .. ':dead')
redis.call('HSET', KEYS[2], ARGV[1] .. ':missed', map['entries-added'] - map['length'])
return 1
"""
)

# ARGV: group, consumer, min_idle_ms, count, whose ('' for anybody's), id to leave alone, ...
# Returns {id, fields, deliveries so far} for each; no fields where the entry itself was deleted.
CLAIM = Script(
    """
local group, consumer, idle_ms, count, whose = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local leave = {}
for i = 6, #ARGV do leave[ARGV[i]] = true end
local limit = count + #ARGV - 5
local pending
if whose ~= '' then
  pending = redis.call('XPENDING', KEYS[1], group, '-', '+', limit, whose)
else
  pending = redis.call('XPENDING', KEYS[1], group, 'IDLE', idle_ms, '-', '+', limit)
end
local taken = {}
for _, one in ipairs(pending) do
  if #taken < count and not leave[one[1]] then
    local entry = redis.call('XRANGE', KEYS[1], one[1], one[1])[1]
    if entry then
      redis.call('XCLAIM', KEYS[1], group, consumer, 0, one[1], 'JUSTID')
      taken[#taken + 1] = {one[1], entry[2], one[4]}
    else
      taken[#taken + 1] = {one[1], {}, one[4]}
    end
  end
end
return taken
"""
)

# ARGV: group, consumer, id. Returns the new count, 0 where another consumer has it by now.
# An entry that was deleted cannot be claimed (XCLAIM would drop it, unaccounted for): whoever found it
# may bury it.
REDELIVER = Script(
    """
local one = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not one then return 0 end
if redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1] then
  if one[2] ~= ARGV[2] then return 0 end
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', one[4] + 1, 'JUSTID')
end
return one[4] + 1
"""
)

# ARGV: group, consumer, id, ...   Entries that another consumer has claimed meanwhile are left to it.
RENEW = Script(
    """
for i = 3, #ARGV do
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
return 0
"""
)

# ARGV: group, consumer, idle_ms. Looks idle for so long that the next claim of any consumer takes it.
RELEASE = Script(
    """
local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100000, ARGV[2])
for _, one in ipairs(held) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, one[1], 'IDLE', ARGV[3], 'JUSTID')
end
return #held
"""
)

# ARGV: group, id, ...
ACK = Script(
    """
local count = redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
if count > 0 then redis.call('HINCRBY', KEYS[2], ARGV[1] .. ':acked', count) end
return count
"""
)

# KEYS[3]: the stream of dead letters. ARGV: group, id, max_len, field, value, ...
DEAD_LETTER = Script(
    """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
redis.call('HINCRBY', KEYS[2], ARGV[1] .. ':dead', 1)
return 1
"""
)

# ARGV: end, start, how many to look at, {field: {value: 1, ...}, ...} as JSON, how many to find.
# Returns where to go on, '' where nothing is left, and the entries found, newest first.
NEWEST = Script(
    """
local wanted, fields, found = cjson.decode(ARGV[4]), 0, {}
for _ in pairs(wanted) do fields = fields + 1 end
local page = redis.call('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
for _, entry in ipairs(page) do
  local flat, right = entry[2], 0
  for i = 1, #flat, 2 do
    local values = wanted[flat[i]]
    if values and values[flat[i + 1]] then right = right + 1 end
  end
  if right == fields then found[#found + 1] = entry end
  if #found == tonumber(ARGV[5]) then break end
end
if #page < tonumber(ARGV[3]) then return {'', found} end
return {'(' .. page[#page][1], found}
"""
)

# Returns {XINFO STREAM, XINFO GROUPS, the ledger, the lag of each group}, nothing where there is no stream.
# In one step, since figures of different moments would not add up. The server does not know the lag where
# entries were deleted in between; then they are counted.
DESCRIBE = Script(
    """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
local lags = {}
for number, flat in ipairs(groups) do
  local group = {}
  for at = 1, #flat, 2 do group[flat[at]] = flat[at + 1] end
  local lag = group['lag']
  if not lag then lag = #redis.call('XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+') end
  lags[number] = lag
end
return {redis.call('XINFO', 'STREAM', KEYS[1]), groups, redis.call('HGETALL', KEYS[2]), lags}
"""
)
