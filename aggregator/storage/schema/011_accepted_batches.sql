-- The ledger: every batch that was inserted, by its id, with the checksum of its content.
CREATE TABLE IF NOT EXISTS @local(accepted_batches) @on_cluster
(
    time     DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    agent    LowCardinality(String),
    spool_id FixedString(16),
    sequence UInt64,
    checksum UInt64
)
ENGINE = @replicated(MergeTree)
PARTITION BY toDate(time)
ORDER BY (agent, spool_id, sequence)
TTL toDateTime(time) + toIntervalDay(7)
SETTINGS ttl_only_drop_parts = 1, @deduplicated;

@distributed(accepted_batches, agent);
