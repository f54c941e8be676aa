-- Every host an agent ever reported for, the latest report; age by the store's clock.
SELECT
    host,
    kernel,
    os,
    agent_version,
    tags,
    replay,
    toUnixTimestamp64Milli(last_seen) / 1000 AS last_seen_s,
    greatest(0, toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(last_seen)) / 1000 AS age_s
FROM hosts
ORDER BY host
LIMIT {max_rows:UInt32}
