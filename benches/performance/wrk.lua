-- Follows the requests that the bench wrote above this: walks through them, and says at the end what the bench reads.

local at = 0

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local failed = summary.errors
  print(string.format(
    "figures: %d %d %d %d %d",
    summary.requests,
    summary.duration,
    failed.status,
    failed.connect + failed.read + failed.write + failed.timeout,
    latency:percentile(99)
  ))
end
