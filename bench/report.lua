-- SPDX-License-Identifier: Apache-2.0
-- Makes wrk end with one line of JSON, which run.py reads; with a number as argument it posts as
-- many bytes.
init = function(arguments)
    if arguments[1] then
        wrk.method = "POST"
        wrk.body = string.rep("x", tonumber(arguments[1]))
    end
end

done = function(summary, latency, requests)
    io.write(string.format(
        '\nREPORT {"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, ' ..
        '"socket_errors": %d, "status_errors": %d}\n',
        summary.requests, summary.duration / 1e6,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
        summary.errors.status))
end
