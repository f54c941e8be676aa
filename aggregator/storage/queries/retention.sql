SELECT name, toUInt32OrZero(extract(create_table_query, 'TTL [^\n]*?toIntervalDay\\((\\d+)\\)'))
FROM system.tables
WHERE database = currentDatabase()
