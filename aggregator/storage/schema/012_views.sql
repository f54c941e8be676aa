-- One request with both of its ends.
--
-- network_ns = (client receive + process) - (server queue + receive + process) = (c2 - c1) - (s3 - s1): the way of the
-- request's first byte to the server's socket plus the way of the answer's first byte back, each measured by one clock
-- only, so skew does not matter. It starts at c1 and not at the end of the client's last write, because on a long
-- request the server already receives while the client still writes: that overlap is in server_receive_ns and must not
-- be subtracted from what comes after the write. For sound data it is never negative, as c1 <= s1 and s3 <= c2, and
-- network + server queue + receive + process + client queue + transfer = client_duration_ns exactly.
-- Values are stored in steps of 100 ns: a result within -500 ns is rounding and reads 0. NULL without an answer.
--
-- The filter of a page goes to both sides only if it names both: WHERE client_start > x AND server_start > x.
CREATE VIEW IF NOT EXISTS exchanges @on_cluster AS
WITH toInt64(c.receive_ns + c.process_ns) - toInt64(s.queue_ns + s.receive_ns + s.process_ns) AS away_ns
SELECT
    c.start AS start,
    c.exchange_id AS exchange_id,
    c.connection_id AS connection_id,
    c.protocol AS protocol,
    c.operation AS operation,
    c.resource AS resource,
    c.statement_id AS statement_id,
    c.statement AS statement,
    c.weight AS weight,
    c.tls AS tls,
    c.replay AS replay,
    c.host AS client_host,
    c.service AS client_service,
    c.pid AS client_pid,
    c.comm AS client_comm,
    c.local_ip AS client_local_ip,
    c.local_port AS client_local_port,
    c.start AS client_start,
    c.status AS client_status,
    c.status_code AS client_status_code,
    c.duration_ns AS client_duration_ns,
    c.queue_ns AS client_queue_ns,
    c.receive_ns AS client_receive_ns,
    c.process_ns AS client_process_ns,
    c.transfer_ns AS client_transfer_ns,
    c.gap_ns AS client_gap_ns,
    c.queue_exact AS client_queue_exact,
    c.ended_by AS client_ended_by,
    c.request_bytes AS client_request_bytes,
    c.response_bytes AS client_response_bytes,
    s.host AS server_host,
    s.service AS server_service,
    s.pid AS server_pid,
    s.comm AS server_comm,
    s.local_ip AS server_local_ip,
    s.local_port AS server_local_port,
    s.start AS server_start,
    s.status AS server_status,
    s.status_code AS server_status_code,
    s.duration_ns AS server_duration_ns,
    s.queue_ns AS server_queue_ns,
    s.receive_ns AS server_receive_ns,
    s.process_ns AS server_process_ns,
    s.transfer_ns AS server_transfer_ns,
    s.queue_exact AS server_queue_exact,
    s.ended_by AS server_ended_by,
    s.request_bytes AS server_request_bytes,
    s.response_bytes AS server_response_bytes,
    if(
        c.status IN ('no_response', 'one_way') OR s.status IN ('no_response', 'one_way'),
        NULL,
        if(away_ns BETWEEN -500 AND 0, 0, away_ns)
    ) AS network_ns
FROM (SELECT * FROM requests WHERE role = 'client' AND exchange_id != 0) AS c
INNER JOIN (SELECT * FROM requests WHERE role = 'server' AND exchange_id != 0) AS s ON c.exchange_id = s.exchange_id;

-- Requests of 100 ms and more.
CREATE VIEW IF NOT EXISTS slow_requests @on_cluster AS
SELECT * FROM requests WHERE duration_ns >= 100000000;
