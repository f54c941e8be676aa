-- A host: requests it served and sent in the range.
SELECT
    host,
    sumIf(s.requests, role = 'server') AS served,
    sumIf(s.requests, role = 'client') AS sent,
    max(s.estimated) AS is_estimated
FROM {stats:Identifier} AS s
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
GROUP BY host
