-- One row: which part of the range has totals at all; zeros when none.
SELECT
    count() AS totals,
    toUnixTimestamp(min(time)) AS first_s,
    toUnixTimestamp(max(time)) AS last_s
FROM {stats:Identifier}
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
