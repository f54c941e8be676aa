-- A changed retention reads toIntervalDay(_CAST(7, 'UInt32')), as its number was bound.
SELECT name, toUInt32OrZero(extract(create_table_query, 'TTL [^\n]*?toIntervalDay\\((?:\\w+\\()?(\\d+)'))
FROM system.tables
WHERE database = currentDatabase()
