-- Size of every table on disk, and its retention in days (0: not counted in days).
WITH
    sizes AS
    (
        SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, sum(data_uncompressed_bytes) AS plain_bytes
        FROM @system(parts)
        WHERE database = {database:String} AND active
        GROUP BY table
    )
SELECT
    replaceRegexpOne(t.name, '_local$', '') AS name,
    s.rows AS rows,
    s.bytes AS bytes,
    s.plain_bytes AS plain_bytes,
    t.partition_key AS partition_key,
    toUInt32OrZero(extract(t.create_table_query, 'TTL [^\n]*?toIntervalDay\\((?:\\w+\\()?(\\d+)')) AS retention_days,
    extract(t.create_table_query, 'TTL (?:toDateTime\\()?(\\w+)') AS age_column
FROM system.tables AS t
LEFT JOIN sizes AS s ON s.table = t.name
WHERE t.database = {database:String} AND t.engine LIKE '%MergeTree' AND NOT t.is_temporary
ORDER BY bytes DESC, name
