-- Sends the requests of a file in turn. `\0` ends one; `\1` in it stands for a number that no other has.
local all, turn, count = {}, 0, 0
local number = tonumber(os.getenv("LOAD_FROM") or "0")
local left = tonumber(os.getenv("LOAD_COUNT") or "-1")
local pause = tonumber(os.getenv("LOAD_PAUSE_MS") or "0")

local file = assert(io.open(os.getenv("LOAD_REQUESTS"), "rb"))
for one in file:read("*a"):gmatch("([^%z]+)%z") do
  local head, tail = one:match("^(.*)\1(.*)$")
  all[#all + 1] = head and {head, tail} or one
end
file:close()
count = #all
turn = number % count

request = function()
  turn = turn % count + 1
  if left >= 0 then
    left = left - 1
    if left <= 0 then wrk.thread:stop() end
  end
  local one = all[turn]
  if type(one) == "string" then return one end
  number = number + 1
  return one[1] .. number .. one[2]
end

if pause > 0 then
  delay = function() return math.random(0, 2 * pause) end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "told requests=%d us=%d connect=%d read=%d write=%d status=%d timeout=%d p50=%d p99=%d\n",
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status,
    errors.timeout, latency:percentile(50), latency:percentile(99)))
end
