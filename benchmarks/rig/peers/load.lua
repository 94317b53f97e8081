-- Sends the requests of a file in turn. `\0` ends one; `\1` in it stands for a number that no other has.
-- With LOAD_COUNT so many are sent, each once, and the end is when all are answered.
local ffi = require("ffi")
ffi.cdef([[
  struct moment { long s; long ns; };
  int clock_gettime(int clock, struct moment *now);
]])

local all, count = {}, 0
local number = tonumber(os.getenv("LOAD_FROM") or "0")
local limit = tonumber(os.getenv("LOAD_COUNT") or "0")
local pause = tonumber(os.getenv("LOAD_PAUSE_MS") or "0")
local told = "told requests=%d us=%d connect=%d read=%d write=%d status=%d timeout=%d p50=%d p99=%d\n"

local file = assert(io.open(os.getenv("LOAD_REQUESTS"), "rb"))
for one in file:read("*a"):gmatch("([^%z]+)%z") do
  local head, tail = one:match("^(.*)\1(.*)$")
  all[#all + 1] = head and {head, tail} or one
end
file:close()
count = #all
local turn = number % count

local function next_one()
  turn = turn % count + 1
  local one = all[turn]
  if type(one) == "string" then return one end
  number = number + 1
  return one[1] .. number .. one[2]
end

local function now_us()
  local now = ffi.new("struct moment")
  ffi.C.clock_gettime(1, now)
  return tonumber(now.s) * 1e6 + tonumber(now.ns) / 1e3
end

if limit == 0 then
  request = next_one
else
  local sent, answered, refused, began = -1, 0, 0, 0
  request = function()
    sent = sent + 1
    if sent == 0 then return "GET / HTTP/1.1\r\n\r\n" end -- wrk looks at one before it begins
    if sent == 1 then began = now_us() end
    return sent <= limit and next_one() or ""
  end
  response = function(status)
    answered = answered + 1
    if status ~= 200 then refused = refused + 1 end
    if answered == limit then
      io.write(told:format(answered, now_us() - began, 0, 0, 0, refused, 0, 0, 0))
      os.exit(0)
    end
  end
end

if pause > 0 then
  delay = function() return math.random(0, 2 * pause) end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(told:format(
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status,
    errors.timeout, latency:percentile(50), latency:percentile(99)))
end
