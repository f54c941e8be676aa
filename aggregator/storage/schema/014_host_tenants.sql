-- Which tenant a host belongs to, as its agent's certificate says: a row whenever that changes, the latest counts.
CREATE TABLE IF NOT EXISTS @local(host_tenants) @on_cluster
(
    time   DateTime64(6, 'UTC'),
    host   LowCardinality(String),
    tenant String
)
ENGINE = @replicated(MergeTree)
ORDER BY (host, time)
SETTINGS @deduplicated;

@distributed(host_tenants, host);

CREATE OR REPLACE VIEW hosts @on_cluster AS
SELECT r.host AS host, kernel, os, addresses, agent_version, tags, replay, agent_started, first_seen, last_seen, tenant
FROM (SELECT * FROM host_reports FINAL) AS r
LEFT JOIN (SELECT host, argMax(tenant, time) AS tenant FROM host_tenants GROUP BY host) AS t ON r.host = t.host;
