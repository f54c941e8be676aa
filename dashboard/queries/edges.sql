-- Who calls whom: caller, callee and protocol. Measured by the caller's host where it has an agent, else by the
-- callee's (seen_at says which), so that no call counts twice. A peer outside the fleet is its address.
SELECT
    if(remote_service = '', remote_host, remote_service) AS peer,
    if(role = 'client', service, peer) AS caller,
    if(role = 'client', peer, service) AS callee,
    protocol,
    role AS seen_at,
    max(remote_service != '' AND NOT startsWith(remote_service, '~')) AS peer_known,
    sum(s.requests) AS total,
    sumIf(s.requests, status IN ('server_error', 'no_response')) AS errors,
    max(s.estimated) AS is_estimated,
    sumMap(s.duration) AS sketch,
    sketchQuantile(0.5, sketch) AS p50_ns,
    sketchQuantile(0.99, sketch) AS p99_ns
FROM {stats:Identifier} AS s
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
  AND (role = 'client' OR remote_host NOT IN (SELECT host FROM hosts))
  AND ({service:String} = '' OR service = {service:String} OR remote_service = {service:String})
  AND ({protocol:String} = '' OR protocol = {protocol:String})
GROUP BY peer, caller, callee, protocol, seen_at
ORDER BY total DESC, caller, callee, protocol
LIMIT {max_rows:UInt32}
