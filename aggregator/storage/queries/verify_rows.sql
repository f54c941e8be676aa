-- Raw rows against totals of 10 s, by host, role and interval of {step} seconds: rows x weight + unsampled = requests,
-- and where every request has a row, the sums too. Every 10 s bucket must agree by itself: a difference is multiplied
-- by a hash of its bucket, so that one bucket too many and another too few do not cancel out within an interval.
SELECT
    host,
    role,
    intDiv(bucket, {step:UInt32}) * {step:UInt32} AS interval_s,
    sum(row_weight) AS rows_count,
    sum(without_row) AS unsampled_count,
    sum(total) AS requests_count,
    sum((row_weight + without_row - total) * mark) AS requests_differ,
    if(sum(without_row) = 0, sum(duration * mark), 0) AS duration_differs,
    if(sum(without_row) = 0, sum(bytes * mark), 0) AS bytes_differ
FROM
(
    SELECT host, role, bucket, reinterpretAsInt64(sipHash64(bucket)) AS mark, row_weight, without_row, total, duration, bytes
    FROM
    (
        SELECT
            host,
            toString(role) AS role,
            toUInt32(intDiv(toUnixTimestamp64Micro(start) + intDiv(duration_ns, 1000), 10000000) * 10) AS bucket,
            toInt64(weight) AS row_weight,
            toInt64(0) AS without_row,
            toInt64(0) AS total,
            toInt64(duration_ns * weight) AS duration,
            toInt64((request_bytes + response_bytes) * weight) AS bytes
        FROM requests
        WHERE start < toDateTime({to:UInt32}, 'UTC')
          AND (start >= toDateTime({from:UInt32} - 86400, 'UTC') OR duration_ns >= 86400000000000)
          AND bucket >= {from:UInt32} AND bucket < {to:UInt32}
        UNION ALL
        SELECT
            host,
            toString(role) AS role,
            toUnixTimestamp(time) AS bucket,
            toInt64(0),
            toInt64(unsampled),
            toInt64(requests),
            -toInt64(duration_sum_ns),
            -toInt64(request_bytes + response_bytes)
        FROM request_stats_10s
        WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC')
    )
)
GROUP BY host, role, interval_s
HAVING requests_differ != 0 OR duration_differs != 0 OR bytes_differ != 0
ORDER BY interval_s, host, role
LIMIT {limit:UInt32}
