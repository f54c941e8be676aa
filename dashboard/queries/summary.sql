-- One row: totals of one service in one role over the whole range, percentiles from its merged sketches.
SELECT
    sum(s.requests) AS total,
    sum(s.unsampled) AS unsampled_requests,
    sumIf(s.requests, status IN ('server_error', 'no_response')) AS errors,
    sumIf(s.requests, status = 'client_error') AS client_errors,
    max(s.estimated) AS is_estimated,
    sum(s.request_bytes) AS bytes_in,
    sum(s.response_bytes) AS bytes_out,
    groupUniqArray(host) AS hosts,
    sumMap(s.duration) AS sketch,
    sketchQuantile(0.5, sketch) AS p50_ns,
    sketchQuantile(0.95, sketch) AS p95_ns,
    sketchQuantile(0.99, sketch) AS p99_ns,
    sketchQuantile(0.99, sumMap(s.queue)) AS queue_p99_ns
FROM {stats:Identifier} AS s
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
  AND service = {service:String}
  AND role = {role:String}
  AND ({host:String} = '' OR host = {host:String})
  AND ({protocol:String} = '' OR protocol = {protocol:String})
  AND ({operation:String} = '' OR operation = {operation:String})
