-- Requests without a byte of an answer when their agent sealed a batch. `time` is when the aggregator received the
-- batch, age_ns is by the agent's clock alone. A row with nothing = 1 says that the host has none any more.
CREATE TABLE IF NOT EXISTS @local(in_flight_reports) @on_cluster
(
    time           DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    nothing        UInt8,
    start          DateTime64(6, 'UTC'),
    age_ns         UInt64,
    host           LowCardinality(String),
    service        LowCardinality(String),
    role           Enum8('' = 0, 'client' = 1, 'server' = 2),
    pid            UInt32,
    comm           LowCardinality(String),
    local_ip       IPv6,
    local_port     UInt16,
    remote_ip      IPv6,
    remote_port    UInt16,
    remote_host    LowCardinality(String),
    remote_service LowCardinality(String),
    protocol       LowCardinality(String),
    operation      LowCardinality(String),
    resource       LowCardinality(String),
    statement_id   UInt64,
    statement      String,
    request_bytes  UInt64,
    connection_id  UInt64
)
ENGINE = @replicated(MergeTree)
PARTITION BY toStartOfHour(time)
ORDER BY (host, time)
TTL toDateTime(time) + toIntervalHour(2)
SETTINGS ttl_only_drop_parts = 1, @deduplicated;

@distributed(in_flight_reports, host);

-- The latest report of each host, unless it is older than 20 s (the agent is gone, so nothing is known).
CREATE VIEW IF NOT EXISTS in_flight @on_cluster AS
SELECT * EXCEPT (nothing)
FROM in_flight_reports
WHERE nothing = 0
  AND (host, time) GLOBAL IN
  (
      SELECT host, max(time) FROM in_flight_reports WHERE time > now64(6) - toIntervalSecond(20) GROUP BY host
  );
