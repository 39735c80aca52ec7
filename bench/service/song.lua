-- wrk: uploads files as a browser's form would.
--   FILES="a.flac b.flac" [THINK_MS=mean] wrk -t2 -c64 -d30s --latency -s bench/service/song.lua http://127.0.0.1:5000/v1/classify
-- THINK_MS is the mean pause of a client between an answer and its next request (exponential), which
-- makes a load below capacity. With OBEY=1 a client that is refused comes again after the seconds of `Retry-After`, as it should;
-- else at once.
local boundary = "taggram-load-test"
local requests, think = {}, tonumber(os.getenv("THINK_MS") or "0")
local obey, pauses = os.getenv("OBEY") == "1", {}
local counter, threads = 0, {}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

function setup(thread)
  counter = counter + 1
  thread:set("seed", counter)
  table.insert(threads, thread)
end

function init()
  math.randomseed(seed)
  answered = {}
  for path in string.gmatch(os.getenv("FILES"), "%S+") do
    local name = path:match("[^/]*$")
    local body = "--" .. boundary .. "\r\nContent-Disposition: form-data; name=\"audio\"; filename=\"" .. name
      .. "\"\r\nContent-Type: application/octet-stream\r\n\r\n" .. read(path) .. "\r\n--" .. boundary .. "--\r\n"
    local headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. boundary }
    table.insert(requests, wrk.format("POST", nil, headers, body))
  end
end

function request()
  return requests[math.random(#requests)]
end

if think > 0 then
  function delay()
    return math.floor(-think * math.log(1 - math.random()))
  end
elseif obey then
  -- wrk does not say whose pause it asks for: as many clients pause as were told to.
  function delay()
    return table.remove(pauses) or 0
  end
end

function response(status, headers)
  answered[status] = (answered[status] or 0) + 1
  if obey and headers["retry-after"] then
    table.insert(pauses, 1000 * tonumber(headers["retry-after"]))
  end
end

function done(summary, latency)
  local total = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("answered")) do
      total[status] = (total[status] or 0) + count
    end
  end
  for status, count in pairs(total) do
    print(string.format("status %d: %d", status, count))
  end
  print(string.format("requests %d, seconds %.3f, errors %d", summary.requests, summary.duration / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
  print(string.format("latency ms: mean %.1f p50 %.1f p90 %.1f p99 %.1f max %.1f", latency.mean / 1e3,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
