-- Counts the tokens of streams, from their `usage`, and hides the usage that a stream's client did not ask for.
-- Runs inside Envoy (LuaJIT) for every stream, so the usual chunk of a stream must cost next to nothing: one copy, two
-- plain searches. Events may be cut anywhere between chunks; only those that could still turn out to be the one to hide
-- are held back. `usage.py` says what becomes of the results.

local find, sub, match = string.find, string.sub, string.match

local ASK_FOR_USAGE = ',"stream_options":{"include_usage":true}}'
local HELD_AT_MOST = 65536  -- bytes of an unfinished event
local USAGE_AT_MOST = 2048  -- bytes of a usage object
local HEAD = 64             -- bytes of a longer one that say which it is
local NOTE_EVERY = 16       -- events; what is known of a stream whose client leaves

local function hidden(handle)
  local said = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.ext_authz")
  return said ~= nil and said["x-manta-usage"] == "hide"
end

-- Ask the engine for usage. Of two keys with one name JSON's readers take the last.
function envoy_on_request(handle)
  if not hidden(handle) then return end
  local body = handle:body()
  if body == nil then return end
  local size = body:length()
  local tail = math.min(size, 256)
  local brace = find(body:getBytes(size - tail, tail), "}%s*$")
  if brace == nil then return end
  body:setBytes(body:getBytes(0, size - tail + brace - 1) .. ASK_FOR_USAGE)
end

local function number_of(text, one, other)
  return tonumber(match(text, '"' .. one .. '":%s*(%d+)') or match(text, '"' .. other .. '":%s*(%d+)'))
end

-- All tokens of the prompt. /v1/messages counts those that were or came to be cached beside its input_tokens.
local function prompt_of(usage)
  local input = number_of(usage, "prompt_tokens", "input_tokens")
  local beside = number_of(usage, "cache_read_input_tokens", "cache_creation_input_tokens")
  if input == nil or beside == nil then return input end
  local cached = tonumber(match(usage, '"cache_read_input_tokens":%s*(%d+)') or 0)
  return input + cached + tonumber(match(usage, '"cache_creation_input_tokens":%s*(%d+)') or 0)
end

-- Put the last usage object of `text` into `counts`. `at`: where `"usage":` was found.
local function read_usage(text, at, counts)
  while at do
    if find(text, '^%s*{', at + 8) then
      local usage = sub(text, at, at + USAGE_AT_MOST)
      counts.prompt_tokens = prompt_of(usage) or counts.prompt_tokens
      counts.completion_tokens = number_of(usage, "completion_tokens", "output_tokens") or counts.completion_tokens
      counts.cached_tokens = number_of(usage, "cached_tokens", "cache_read_input_tokens") or counts.cached_tokens
    end
    at = find(text, '"usage":', at + 8, true)
  end
end

-- Of events with names those whose usage is the engine's word. Others may repeat what the client sent, tools for one.
local FINAL = {
  ["response.completed"] = true, ["response.incomplete"] = true, ["response.failed"] = true,
  message_start = true, message_delta = true,
}

local function is_last_chunk(event)
  return find(event, '"choices":%s*%[%s*%]') and find(event, '"usage":%s*{')
end

-- The usage of all whole events of `text`.
local function read_events(text, counts)
  local from = 1
  while true do
    local _, last = find(text, "\r?\n\r?\n", from)
    if last == nil then return end
    local event = sub(text, from, last)
    local name = match(event, "^event:%s*([%w_.]+)")
    if name == nil or FINAL[name] then read_usage(event, find(event, '"usage":', 1, true), counts) end
    from = last + 1
  end
end

-- The end of `text` whose event is not whole yet; of a long one its beginning and its end.
local function unfinished(text)
  local rest = sub(text, match(text, "^.*\n\r?\n()") or 1)
  if #rest <= HELD_AT_MOST then return rest end
  return sub(rest, 1, HEAD) .. sub(rest, HEAD - HELD_AT_MOST)
end

-- Where the headers of whole answers are noted, too. Envoy copies all of it at each `set`: only what is new.
local function note(handle, counts, noted)
  local metadata = handle:streamInfo():dynamicMetadata()
  for name, count in pairs(counts) do
    if noted[name] ~= count then metadata:set("manta", name, count) end
    noted[name] = count
  end
end

local function ends_event(text)
  return sub(text, -2) == "\n\n" or sub(text, -4) == "\r\n\r\n"
end

-- Whether an unfinished event can still become the one with usage and nothing else.
local function may_be_usage(event)
  return #event < HELD_AT_MOST and not find(event, '"choices":%s*%[%s*{') and not find(event, '^data:%s*%[')
end

-- What of `text` goes on to the client, and the unfinished event to hold back. `inside`: its first event began earlier.
local function drop_usage(text, inside)
  local kept, from = {}, 1
  while true do
    local _, last = find(text, "\r?\n\r?\n", from)
    if last == nil then break end
    local event = sub(text, from, last)
    if inside or not is_last_chunk(event) then
      kept[#kept + 1] = event
    end
    inside, from = false, last + 1
  end
  local rest = sub(text, from)
  if rest == "" then return table.concat(kept), "", false end
  if not inside and may_be_usage(rest) then return table.concat(kept), rest, false end
  return table.concat(kept) .. rest, "", true
end

-- A stream: events pass as they come.
local function watch_events(handle, hide)
  local began = handle:timestamp(EnvoyTimestampResolution.MILLISECOND)
  local counts, noted, last = { events = 0 }, {}, 0
  local held, inside, tail, cut = "", false, "", ""
  for chunk in handle:bodyChunks() do
    local text = chunk:getBytes(0, chunk:length())
    if counts.events == 0 then
      counts.first_data_ms = handle:timestamp(EnvoyTimestampResolution.MILLISECOND) - began
    end
    local at = find(text, "data: ", 1, true)
    while at do
      counts.events = counts.events + 1
      at = find(text, "data: ", at + 6, true)
    end
    local whole = tail == "" and text or tail .. text
    local usage = find(whole, '"usage":', 1, true)
    if usage then read_events(whole, counts) end
    tail = ends_event(text) and "" or unfinished(whole)
    if text == "" then  -- the end: no chunk before it is empty
      if held ~= "" and not is_last_chunk(held) then chunk:setBytes(held) end
    elseif hide and (usage or inside or held ~= "" or not ends_event(text)) then
      local passed
      -- `cut`: the end of what has passed already, for blank lines that are cut in two.
      passed, held, inside = drop_usage(cut .. held .. text, inside)
      chunk:setBytes(sub(passed, #cut + 1))
      cut = inside and sub(passed, -3) or ""
    end
    if counts.events >= last + NOTE_EVERY then
      last = counts.events
      note(handle, counts, noted)
    end
  end
  read_events(tail .. "\n\n", counts)
  note(handle, counts, noted)
end

function envoy_on_response(handle)
  local kind = handle:headers():get("content-type")
  if kind and find(kind, "text/event-stream", 1, true) then watch_events(handle, hidden(handle)) end
end
