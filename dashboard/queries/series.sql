-- A step of the range: totals of one service in one role, percentiles from the step's merged sketches.
SELECT
    intDiv(toUnixTimestamp(time), {step_s:UInt32}) * {step_s:UInt32} AS step,
    sum(s.requests) AS total,
    sumIf(s.requests, status IN ('server_error', 'no_response')) AS errors,
    sumIf(s.requests, status = 'client_error') AS client_errors,
    max(s.estimated) AS is_estimated,
    sum(s.queue_sum_ns) AS queue_ns,
    sum(s.receive_sum_ns) AS receive_ns,
    sum(s.process_sum_ns) AS process_ns,
    sum(s.transfer_sum_ns) AS transfer_ns,
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
GROUP BY step
ORDER BY step
