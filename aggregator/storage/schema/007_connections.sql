-- One report of one end of a TCP connection: at its start, at its close, one a minute in between. Counters are totals
-- since the connection opened. `opened` is the epoch where the connection is older than the agent, `closed` while open.
CREATE TABLE IF NOT EXISTS @local(connections) @on_cluster
(
    time             DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    opened           DateTime64(6, 'UTC'),
    closed           DateTime64(6, 'UTC'),
    host             LowCardinality(String),
    service          LowCardinality(String),
    role             Enum8('client' = 1, 'server' = 2),
    pid              UInt32,
    comm             LowCardinality(String),
    local_ip         IPv6,
    local_port       UInt16,
    remote_ip        IPv6,
    remote_port      UInt16,
    remote_host      LowCardinality(String),
    remote_service   LowCardinality(String),
    connection_id    UInt64,
    outcome          Enum8('open' = 1, 'closed' = 2, 'refused' = 3, 'reset' = 4, 'timeout' = 5, 'unreachable' = 6),
    connect_ns       UInt64,
    tls_handshake_ns UInt64,
    bytes_sent       UInt64,
    bytes_received   UInt64,
    retransmits      UInt64,
    rtt_us           UInt32,
    min_rtt_us       UInt32,
    zero_windows     UInt64,
    resets_sent      UInt64,
    resets_received  UInt64
)
ENGINE = @replicated(MergeTree)
PARTITION BY toDate(time)
ORDER BY (service, host, time)
TTL toDateTime(time) + toIntervalDay(7)
SETTINGS ttl_only_drop_parts = 1, @deduplicated;

@distributed(connections, host);
