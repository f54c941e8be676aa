-- Rows of the last day, and how much of that day the table has seen.
SELECT
    countIf(at > now() - toIntervalDay(1)) AS recent_rows,
    dateDiff('second', greatest(min(at), now() - toIntervalDay(1)), now()) AS seconds,
    dateDiff('second', min(at), now()) AS oldest_s
FROM (SELECT toDateTime({column:Identifier}) AS at FROM {table:Identifier})
WHERE at <= now()
HAVING count() > 0
