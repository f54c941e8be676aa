-- One request seen at one end. Durations in ns; DESIGN.md section 3 says what each of them spans.
CREATE TABLE IF NOT EXISTS @local(requests) @on_cluster
(
    start               DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    host                LowCardinality(String),
    service             LowCardinality(String),
    role                Enum8('client' = 1, 'server' = 2),
    pid                 UInt32,
    comm                LowCardinality(String),
    local_ip            IPv6,
    local_port          UInt16,
    remote_ip           IPv6,
    remote_port         UInt16,
    remote_host         LowCardinality(String),
    remote_service      LowCardinality(String),
    protocol            LowCardinality(String),
    operation           LowCardinality(String),
    resource            LowCardinality(String),
    statement_id        UInt64,
    statement           String CODEC(ZSTD(1)),
    statement_truncated UInt8,
    status              Enum8('ok' = 1, 'client_error' = 2, 'server_error' = 3, 'no_response' = 4, 'one_way' = 5),
    status_code         LowCardinality(String),
    duration_ns         UInt64 CODEC(T64, ZSTD(1)),
    queue_ns            UInt64 CODEC(T64, ZSTD(1)),
    receive_ns          UInt64 CODEC(T64, ZSTD(1)),
    process_ns          UInt64 CODEC(T64, ZSTD(1)),
    transfer_ns         UInt64 CODEC(T64, ZSTD(1)),
    gap_ns              UInt64 CODEC(T64, ZSTD(1)),
    queue_exact         UInt8,
    request_bytes       UInt64 CODEC(T64, ZSTD(1)),
    response_bytes      UInt64 CODEC(T64, ZSTD(1)),
    ended_by            Enum8('framing' = 1, 'next_request' = 2, 'close' = 3, 'idle' = 4),
    tls                 UInt8,
    exchange_id         UInt64,
    connection_id       UInt64,
    weight              UInt32,
    attributes          Map(String, String),
    replay              UInt8,
    INDEX exchange exchange_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX begin start TYPE minmax GRANULARITY 1
)
ENGINE = @replicated(MergeTree)
PARTITION BY toDate(start)
ORDER BY (service, host, start)
TTL toDateTime(start) + toIntervalDay(7)
SETTINGS ttl_only_drop_parts = 1, @deduplicated;

@distributed(requests, host);
