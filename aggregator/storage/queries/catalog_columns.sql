SELECT table, name, type, compression_codec, default_expression
FROM system.columns
WHERE database = {database:String}
ORDER BY table, position
