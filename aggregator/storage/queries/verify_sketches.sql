-- Sketches of 10 s hold every request that the row counts, unless the row says that it is an estimate.
SELECT
    host,
    toString(role) AS role,
    intDiv(toUnixTimestamp(time), {step:UInt32}) * {step:UInt32} AS interval_s,
    sum(requests) AS requests_count,
    sum(arraySum(mapValues(duration))) AS sketch_count
FROM request_stats_10s
WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC') AND estimated = 0
GROUP BY host, role, interval_s
HAVING sum(requests != arraySum(mapValues(duration))) != 0
ORDER BY interval_s, host, role
LIMIT {limit:UInt32}
