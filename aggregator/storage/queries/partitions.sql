SELECT p.table AS table, p.partition_id AS partition_id, any(t.partition_key) AS partition_key,
       sum(p.rows) AS rows, sum(p.bytes_on_disk) AS bytes
FROM system.parts AS p
INNER JOIN system.tables AS t ON t.database = p.database AND t.name = p.table
WHERE p.database = currentDatabase() AND p.active AND p.table IN ({tables:Array(String)})
GROUP BY table, partition_id
