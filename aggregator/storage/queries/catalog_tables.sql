SELECT name, engine, partition_key, sorting_key
FROM system.tables
WHERE database = {database:String} AND NOT is_temporary
ORDER BY name
