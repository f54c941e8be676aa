SELECT count() AS rows_count, toUnixTimestamp(min({column:Identifier})) AS oldest_s FROM {table:Identifier}
