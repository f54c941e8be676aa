-- What agents last said of their hosts and of listening sockets. Read through the views, one row a host or endpoint.
CREATE TABLE IF NOT EXISTS @local(host_reports) @on_cluster
(
    host          LowCardinality(String),
    kernel        SimpleAggregateFunction(anyLast, String),
    os            SimpleAggregateFunction(anyLast, String),
    addresses     SimpleAggregateFunction(anyLast, Array(String)),
    agent_version SimpleAggregateFunction(anyLast, String),
    tags          SimpleAggregateFunction(anyLast, Map(String, String)),
    replay        SimpleAggregateFunction(anyLast, UInt8),
    agent_started SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    first_seen    SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last_seen     SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
)
ENGINE = @replicated(AggregatingMergeTree)
ORDER BY host
TTL toDateTime(last_seen) + toIntervalDay(35)
SETTINGS @deduplicated;

@distributed(host_reports, host);

CREATE VIEW IF NOT EXISTS hosts @on_cluster AS
SELECT host, kernel, os, addresses, agent_version, tags, replay, agent_started, first_seen, last_seen
FROM host_reports FINAL;

CREATE TABLE IF NOT EXISTS @local(endpoint_reports) @on_cluster
(
    host       LowCardinality(String),
    address    IPv6,
    port       UInt16,
    service    LowCardinality(String),
    pid        SimpleAggregateFunction(anyLast, UInt32),
    first_seen SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last_seen  SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
)
ENGINE = @replicated(AggregatingMergeTree)
ORDER BY (host, address, port, service)
TTL toDateTime(last_seen) + toIntervalDay(35)
SETTINGS @deduplicated;

@distributed(endpoint_reports, host);

CREATE VIEW IF NOT EXISTS endpoints @on_cluster AS
SELECT host, address, port, service, pid, first_seen, last_seen FROM endpoint_reports FINAL;
