-- A service, protocol and step of the range: requests, for the small charts of the overview.
SELECT
    service,
    protocol,
    intDiv(toUnixTimestamp(time), {step_s:UInt32}) * {step_s:UInt32} AS step,
    sum(s.requests) AS total
FROM {stats:Identifier} AS s
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
  AND role = {role:String}
  AND ({host:String} = '' OR host = {host:String})
  AND ({protocol:String} = '' OR protocol = {protocol:String})
GROUP BY service, protocol, step
ORDER BY service, protocol, step
