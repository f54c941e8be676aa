-- What agents say they handed over against what the totals count. An agent reports requests up to {slack} seconds after
-- they completed, so what it reported in (from + slack, to] completed in [from, to): never more than the totals have.
-- Left out: hosts that dropped batches themselves, which agent_stats says, and replays, whose times are of another day.
SELECT host, sum(reported) AS reported_count, sum(counted) AS requests_count
FROM
(
    SELECT host, details['requests'] AS reported, toUInt64(0) AS counted, dropped_batches AS dropped
    FROM agent_stats
    WHERE probe = 'agent'
      AND time > toDateTime({from:UInt32} + {slack:UInt32}, 'UTC') AND time <= toDateTime({to:UInt32}, 'UTC')
    UNION ALL
    SELECT host, 0, requests, 0
    FROM request_stats_10s
    WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC')
)
WHERE host NOT IN (SELECT host FROM host_reports WHERE replay = 1)
GROUP BY host
HAVING reported_count > requests_count AND sum(dropped) = 0
ORDER BY host
LIMIT {limit:UInt32}
