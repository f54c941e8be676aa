-- Statements are a part of all requests: by host, role and minute never more of them, nor more failed ones.
SELECT host, role, intDiv(bucket, {step:UInt32}) * {step:UInt32} AS interval_s,
       sum(statements) AS statements_count, sum(total) AS requests_count
FROM
(
    SELECT host, role, bucket, sum(part) AS statements, sum(bad) AS errors, sum(whole) AS total
    FROM
    (
        SELECT host, toString(role) AS role, toUnixTimestamp(time) AS bucket, requests AS part, errors AS bad, toUInt64(0) AS whole
        FROM statement_stats_1m
        WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC')
        UNION ALL
        SELECT host, toString(role) AS role, toUnixTimestamp(time) AS bucket, 0, 0, requests
        FROM request_stats_1m
        WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC')
    )
    GROUP BY host, role, bucket
    HAVING statements > total OR errors > statements
)
GROUP BY host, role, interval_s
ORDER BY interval_s, host, role
LIMIT {limit:UInt32}
