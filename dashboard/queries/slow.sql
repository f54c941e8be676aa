-- A request, the slowest first, once: seen by its client where the client's host has an agent; with the other end,
-- joined from `exchanges`, where that was kept too (joined = 1). Client columns of a joined row come from there.
-- A request has at most two rows: the slowest 2 n rows hold the slowest n requests.
WITH slowest AS
(
    SELECT *
    FROM
    (
        SELECT *
        FROM requests
        WHERE start >= fromUnixTimestamp64Milli(toInt64({from_s:UInt32}) * 1000)
          AND start < fromUnixTimestamp64Milli(toInt64({to_s:UInt32}) * 1000)
          AND status != 'one_way'
          AND ({service:String} = '' OR (service = {service:String} AND role = {role:String}))
          AND ({host:String} = '' OR host = {host:String})
          AND ({protocol:String} = '' OR protocol = {protocol:String})
          AND ({operation:String} = '' OR operation = {operation:String})
          AND ({status:String} = '' OR status = {status:String})
        ORDER BY duration_ns DESC, role
        LIMIT 2 * {slow_rows:UInt32}
    )
    ORDER BY duration_ns DESC, role
    LIMIT 1 BY if(exchange_id = 0, cityHash64(start, host, pid, local_port, remote_port, role), exchange_id)
    LIMIT {slow_rows:UInt32}
),
both AS
(
    SELECT *
    FROM exchanges
    WHERE client_start >= fromUnixTimestamp64Milli((toInt64({from_s:UInt32}) - 60) * 1000)
      AND client_start < fromUnixTimestamp64Milli((toInt64({to_s:UInt32}) + 60) * 1000)
      AND server_start >= fromUnixTimestamp64Milli((toInt64({from_s:UInt32}) - 60) * 1000)
      AND server_start < fromUnixTimestamp64Milli((toInt64({to_s:UInt32}) + 60) * 1000)
      AND exchange_id IN (SELECT exchange_id FROM slowest WHERE exchange_id != 0)
    LIMIT 1 BY exchange_id
)
SELECT
    toString(r.exchange_id) AS exchange_id,
    b.exchange_id != 0 AS joined,
    toUnixTimestamp64Micro(r.start) / 1e6 AS start_s,
    toString(r.role) AS role,
    r.host AS host,
    r.service AS service,
    r.comm AS comm,
    r.pid AS pid,
    r.remote_host AS remote_host,
    r.remote_service AS remote_service,
    r.protocol AS protocol,
    r.operation AS operation,
    r.resource AS resource,
    r.statement AS statement,
    r.statement_truncated AS statement_truncated,
    toString(r.status) AS status,
    r.status_code AS status_code,
    toString(r.ended_by) AS ended_by,
    r.tls AS tls,
    r.weight AS weight,
    r.queue_exact AS queue_exact,
    r.request_bytes AS request_bytes,
    r.response_bytes AS response_bytes,
    r.attributes AS attributes,
    r.duration_ns AS duration_ns,
    r.queue_ns AS queue_ns,
    r.receive_ns AS receive_ns,
    r.process_ns AS process_ns,
    r.transfer_ns AS transfer_ns,
    r.gap_ns AS gap_ns,
    b.client_host AS client_host,
    b.client_service AS client_service,
    b.client_duration_ns AS client_duration_ns,
    b.client_gap_ns AS client_gap_ns,
    b.client_queue_ns AS client_queue_ns,
    b.client_receive_ns AS client_receive_ns,
    b.client_process_ns AS client_process_ns,
    b.client_transfer_ns AS client_transfer_ns,
    b.server_host AS server_host,
    b.server_service AS server_service,
    b.server_duration_ns AS server_duration_ns,
    b.server_queue_ns AS server_queue_ns,
    b.server_queue_exact AS server_queue_exact,
    b.server_receive_ns AS server_receive_ns,
    b.server_process_ns AS server_process_ns,
    b.server_transfer_ns AS server_transfer_ns,
    b.network_ns AS network_ns
FROM slowest AS r
LEFT JOIN both AS b ON r.exchange_id = b.exchange_id
ORDER BY duration_ns DESC, start_s
