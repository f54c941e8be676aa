INSERT INTO dropped_partitions (time, table_name, partition, until, rows, bytes, free_bytes)
SELECT now(), {table:String}, {partition:String}, toDateTime({until:UInt32}, 'UTC'), {rows:UInt64}, {bytes:UInt64}, {free:UInt64}
