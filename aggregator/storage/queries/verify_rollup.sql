-- Totals of 10 s against those of a longer roll-up, by host, role and interval of {step} seconds: every column, and
-- every bucket of every sketch. A bucket of the roll-up is {grain} seconds; a difference is multiplied by a hash of it.
SELECT
    host,
    role,
    intDiv(bucket, {step:UInt32}) * {step:UInt32} AS interval_s,
    sumIf(n, side = 1) AS short_count,
    sumIf(n, side = -1) AS long_count,
    sum(side * n * mark) AS requests_differ,
    sum(side * sums * mark) AS sums_differ,
    sum(side * sketches * mark) AS sketches_differ
FROM
(
    SELECT host, role, bucket, reinterpretAsInt64(sipHash64(bucket)) AS mark, side, n, sums, sketches
    FROM
    (
        SELECT
            toInt64(1) AS side,
            host,
            toString(role) AS role,
            intDiv(toUnixTimestamp(time), {grain:UInt32}) * {grain:UInt32} AS bucket,
            toInt64(requests) AS n,
            toInt64(
                unsampled + 3 * request_bytes + 5 * response_bytes + 7 * duration_sum_ns + 11 * queue_sum_ns
                + 13 * receive_sum_ns + 17 * process_sum_ns + 19 * transfer_sum_ns
            ) AS sums,
            toInt64(
                arraySum((k, c) -> (k + 40000) * c, mapKeys(duration), mapValues(duration))
                + 3 * arraySum((k, c) -> (k + 40000) * c, mapKeys(queue), mapValues(queue))
                + 5 * arraySum((k, c) -> (k + 40000) * c, mapKeys(process), mapValues(process))
                + 7 * arraySum((k, c) -> (k + 40000) * c, mapKeys(transfer), mapValues(transfer))
            ) AS sketches
        FROM request_stats_10s
        WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC')
        UNION ALL
        SELECT
            toInt64(-1) AS side,
            host,
            toString(role) AS role,
            toUnixTimestamp(time) AS bucket,
            toInt64(requests) AS n,
            toInt64(
                unsampled + 3 * request_bytes + 5 * response_bytes + 7 * duration_sum_ns + 11 * queue_sum_ns
                + 13 * receive_sum_ns + 17 * process_sum_ns + 19 * transfer_sum_ns
            ) AS sums,
            toInt64(
                arraySum((k, c) -> (k + 40000) * c, mapKeys(duration), mapValues(duration))
                + 3 * arraySum((k, c) -> (k + 40000) * c, mapKeys(queue), mapValues(queue))
                + 5 * arraySum((k, c) -> (k + 40000) * c, mapKeys(process), mapValues(process))
                + 7 * arraySum((k, c) -> (k + 40000) * c, mapKeys(transfer), mapValues(transfer))
            ) AS sketches
        FROM {table:Identifier}
        WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC')
    )
)
GROUP BY host, role, interval_s
HAVING requests_differ != 0 OR sums_differ != 0 OR sketches_differ != 0
ORDER BY interval_s, host, role
LIMIT {limit:UInt32}
