-- Exact totals by time of completion, 10 s. Rows of one key may be stored apart until a merge: always sum() them,
-- and sumMap() the sketches before sketchQuantile().
CREATE TABLE IF NOT EXISTS @local(request_stats_10s) @on_cluster
(
    time             DateTime('UTC') CODEC(Delta, ZSTD(1)),
    host             LowCardinality(String),
    service          LowCardinality(String),
    role             Enum8('client' = 1, 'server' = 2),
    remote_host      LowCardinality(String),
    remote_service   LowCardinality(String),
    protocol         LowCardinality(String),
    operation        LowCardinality(String),
    resource         LowCardinality(String),
    status           Enum8('ok' = 1, 'client_error' = 2, 'server_error' = 3, 'no_response' = 4, 'one_way' = 5),
    requests         SimpleAggregateFunction(sum, UInt64),
    unsampled        SimpleAggregateFunction(sum, UInt64),
    estimated        SimpleAggregateFunction(max, UInt8),
    request_bytes    SimpleAggregateFunction(sum, UInt64),
    response_bytes   SimpleAggregateFunction(sum, UInt64),
    duration_sum_ns  SimpleAggregateFunction(sum, UInt64),
    queue_sum_ns     SimpleAggregateFunction(sum, UInt64),
    receive_sum_ns   SimpleAggregateFunction(sum, UInt64),
    process_sum_ns   SimpleAggregateFunction(sum, UInt64),
    transfer_sum_ns  SimpleAggregateFunction(sum, UInt64),
    duration         SimpleAggregateFunction(sumMap, Map(Int16, UInt64)),
    queue            SimpleAggregateFunction(sumMap, Map(Int16, UInt64)),
    process          SimpleAggregateFunction(sumMap, Map(Int16, UInt64)),
    transfer         SimpleAggregateFunction(sumMap, Map(Int16, UInt64))
)
ENGINE = @replicated(AggregatingMergeTree)
PARTITION BY toDate(time)
ORDER BY (time, service, host, role, protocol, operation, resource, remote_service, remote_host, status)
TTL time + toIntervalDay(7)
SETTINGS ttl_only_drop_parts = 1, @deduplicated;

@distributed(request_stats_10s, host);
