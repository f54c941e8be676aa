-- A service and protocol, seen in one role: totals and percentiles (from merged sketches) of the range.
SELECT
    service,
    protocol,
    uniqExact(host) AS hosts,
    sum(s.requests) AS total,
    sumIf(s.requests, status IN ('server_error', 'no_response')) AS errors,
    sumIf(s.requests, status = 'client_error') AS client_errors,
    max(s.estimated) AS is_estimated,
    sumMap(s.duration) AS sketch,
    sketchQuantile(0.5, sketch) AS p50_ns,
    sketchQuantile(0.95, sketch) AS p95_ns,
    sketchQuantile(0.99, sketch) AS p99_ns
FROM {stats:Identifier} AS s
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
  AND role = {role:String}
  AND ({host:String} = '' OR host = {host:String})
  AND ({protocol:String} = '' OR protocol = {protocol:String})
GROUP BY service, protocol
ORDER BY total DESC, service, protocol
LIMIT {max_rows:UInt32}
