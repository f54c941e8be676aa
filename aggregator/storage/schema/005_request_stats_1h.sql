-- The same by hour, fed by every insert into request_stats_10s.
CREATE TABLE IF NOT EXISTS request_stats_1h
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
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (time, service, host, role, protocol, operation, resource, remote_service, remote_host, status)
TTL time + toIntervalDay(400)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS request_stats_1h_from_10s TO request_stats_1h AS
SELECT
    toStartOfHour(s.time) AS time, host, service, role, remote_host, remote_service, protocol, operation, resource, status,
    sum(s.requests) AS requests,
    sum(s.unsampled) AS unsampled,
    max(s.estimated) AS estimated,
    sum(s.request_bytes) AS request_bytes,
    sum(s.response_bytes) AS response_bytes,
    sum(s.duration_sum_ns) AS duration_sum_ns,
    sum(s.queue_sum_ns) AS queue_sum_ns,
    sum(s.receive_sum_ns) AS receive_sum_ns,
    sum(s.process_sum_ns) AS process_sum_ns,
    sum(s.transfer_sum_ns) AS transfer_sum_ns,
    sumMap(s.duration) AS duration,
    sumMap(s.queue) AS queue,
    sumMap(s.process) AS process,
    sumMap(s.transfer) AS transfer
FROM request_stats_10s AS s
GROUP BY time, host, service, role, remote_host, remote_service, protocol, operation, resource, status;
