-- Now, the retention of each table in days, and until when partitions of it were dropped before that (0: none).
SELECT
    toUnixTimestamp(now()) AS now_s,
    kept.name AS table,
    kept.days AS retention_days,
    dropped.until_s AS dropped_until_s
FROM
(
    SELECT
        replaceRegexpOne(name, '_local$', '') AS name,
        toUInt32OrZero(extract(create_table_query, 'TTL [^\n]*?toIntervalDay\\((?:\\w+\\()?(\\d+)')) AS days
    FROM system.tables
    WHERE database = {database:String} AND engine LIKE '%MergeTree'
) AS kept
LEFT JOIN
(
    SELECT toString(table_name) AS name, toUnixTimestamp(max(until)) AS until_s FROM dropped_partitions GROUP BY name
) AS dropped ON dropped.name = kept.name
