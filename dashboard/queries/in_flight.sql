-- A request without a byte of an answer yet, the oldest first, as its agent last reported.
SELECT
    toUnixTimestamp64Micro(start) / 1e6 AS start_s,
    age_ns,
    host,
    service,
    toString(role) AS role,
    comm,
    pid,
    remote_host,
    remote_service,
    protocol,
    operation,
    resource,
    statement,
    request_bytes
FROM in_flight
WHERE ({service:String} = '' OR service = {service:String})
  AND ({host:String} = '' OR host = {host:String})
  AND ({protocol:String} = '' OR protocol = {protocol:String})
ORDER BY age_ns DESC
LIMIT {max_rows:UInt32}
