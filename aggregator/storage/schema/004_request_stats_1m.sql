-- The same by minute: columns as in request_stats_10s, fed by every insert into it. The view does not group: whatever
-- the order in which blocks and late rows come, the engine adds rows of one key when it merges, and sketches add exactly.
CREATE TABLE IF NOT EXISTS @local(request_stats_1m) @on_cluster AS @local(request_stats_10s)
ENGINE = @replicated(AggregatingMergeTree)
PARTITION BY toMonday(time)
ORDER BY (time, service, host, role, protocol, operation, resource, remote_service, remote_host, status)
TTL time + toIntervalDay(35)
SETTINGS ttl_only_drop_parts = 1, @deduplicated;

@distributed(request_stats_1m, host);

CREATE MATERIALIZED VIEW IF NOT EXISTS request_stats_1m_from_10s @on_cluster TO @local(request_stats_1m) AS
SELECT * REPLACE (toStartOfMinute(time) AS time) FROM @local(request_stats_10s);
