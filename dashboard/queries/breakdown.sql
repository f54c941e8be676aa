-- A kind of request of one service in one role: totals, percentiles, and the mean of each part.
SELECT
    protocol,
    operation,
    resource,
    sum(s.requests) AS total,
    sumIf(s.requests, status IN ('server_error', 'no_response')) AS errors,
    sumIf(s.requests, status = 'client_error') AS client_errors,
    max(s.estimated) AS is_estimated,
    sum(s.duration_sum_ns) AS all_ns,
    sum(s.queue_sum_ns) / total AS queue_ns,
    sum(s.receive_sum_ns) / total AS receive_ns,
    sum(s.process_sum_ns) / total AS process_ns,
    sum(s.transfer_sum_ns) / total AS transfer_ns,
    sumMap(s.duration) AS sketch,
    sketchQuantile(0.5, sketch) AS p50_ns,
    sketchQuantile(0.95, sketch) AS p95_ns,
    sketchQuantile(0.99, sketch) AS p99_ns
FROM {stats:Identifier} AS s
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
  AND service = {service:String}
  AND role = {role:String}
  AND ({host:String} = '' OR host = {host:String})
  AND ({protocol:String} = '' OR protocol = {protocol:String})
  AND ({operation:String} = '' OR operation = {operation:String})
GROUP BY protocol, operation, resource
ORDER BY all_ns DESC, operation, resource
LIMIT {max_rows:UInt32}
