-- One agent, one probe, one interval that ended at `time`. Counts are of the interval; spooled_bytes and rss_bytes are
-- gauges; cpu_ns and rss_bytes stand on the row of probe 'agent'. `details` splits the counts.
CREATE TABLE IF NOT EXISTS @local(agent_stats) @on_cluster
(
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    interval_ns     UInt64,
    host            LowCardinality(String),
    probe           LowCardinality(String),
    events          UInt64,
    lost_in_kernel  UInt64,
    lost_in_agent   UInt64,
    unmatched       UInt64,
    unparsed        UInt64,
    spooled_bytes   UInt64,
    dropped_batches UInt64,
    cpu_ns          UInt64,
    kernel_ns       UInt64,
    rss_bytes       UInt64,
    probe_runs      UInt64,
    details         Map(String, UInt64)
)
ENGINE = @replicated(MergeTree)
PARTITION BY toDate(time)
ORDER BY (host, probe, time)
TTL toDateTime(time) + toIntervalDay(14)
SETTINGS ttl_only_drop_parts = 1, @deduplicated;

@distributed(agent_stats, host);
