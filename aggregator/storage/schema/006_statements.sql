-- Statement texts, literals masked. Read them through the view `statements`, which has one row a statement.
CREATE TABLE IF NOT EXISTS @local(statement_texts) @on_cluster
(
    statement_id UInt64,
    protocol     LowCardinality(String),
    text         SimpleAggregateFunction(anyLast, String) CODEC(ZSTD(1)),
    first_seen   SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last_seen    SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
)
ENGINE = @replicated(AggregatingMergeTree)
ORDER BY (statement_id, protocol)
TTL toDateTime(last_seen) + toIntervalDay(90)
SETTINGS @deduplicated;

@distributed(statement_texts, statement_id);

CREATE VIEW IF NOT EXISTS statements @on_cluster AS
SELECT statement_id, protocol, text, first_seen, last_seen FROM statement_texts FINAL;

-- Exact totals of one statement a minute; statement_id 0 is `~other`: statements beyond the limit of one batch.
CREATE TABLE IF NOT EXISTS @local(statement_stats_1m) @on_cluster
(
    time            DateTime('UTC') CODEC(Delta, ZSTD(1)),
    host            LowCardinality(String),
    service         LowCardinality(String),
    role            Enum8('client' = 1, 'server' = 2),
    remote_service  LowCardinality(String),
    statement_id    UInt64,
    requests        SimpleAggregateFunction(sum, UInt64),
    errors          SimpleAggregateFunction(sum, UInt64),
    duration_sum_ns SimpleAggregateFunction(sum, UInt64),
    duration        SimpleAggregateFunction(sumMap, Map(Int16, UInt64))
)
ENGINE = @replicated(AggregatingMergeTree)
PARTITION BY toMonday(time)
ORDER BY (time, service, host, role, remote_service, statement_id)
TTL time + toIntervalDay(35)
SETTINGS ttl_only_drop_parts = 1, @deduplicated;

@distributed(statement_stats_1m, host);
