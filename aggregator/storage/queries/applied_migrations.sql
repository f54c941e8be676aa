SELECT number, argMin(checksum, applied) FROM schema_migrations GROUP BY number
