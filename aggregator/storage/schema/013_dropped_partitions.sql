-- Partitions that the aggregator dropped before their retention, to keep the disk from filling. `until` is the end of
-- the time that the partition held: `sonde verify` compares only what is later.
CREATE TABLE IF NOT EXISTS @local(dropped_partitions) @on_cluster
(
    time       DateTime('UTC'),
    table_name LowCardinality(String),
    partition  String,
    until      DateTime('UTC'),
    rows       UInt64,
    bytes      UInt64,
    free_bytes UInt64
)
ENGINE = @replicated(MergeTree)
ORDER BY (table_name, until)
TTL time + toIntervalDay(400)
SETTINGS @deduplicated;

@distributed(dropped_partitions, table_name);
