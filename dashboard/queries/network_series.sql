-- A step of the range: mean network time of the requests whose two ends were both seen, for a service at one end.
-- Where an agent sends no row of some requests, these are what it sent; halves that were asked for (weight 0) do not count.
SELECT
    intDiv(toUnixTimestamp(start), {step_s:UInt32}) * {step_s:UInt32} AS step,
    sum(weight) AS joined,
    sum(network_ns * weight) / sum(weight) AS mean_network_ns
FROM exchanges
WHERE client_start >= fromUnixTimestamp64Milli(toInt64({from_s:UInt32}) * 1000)
  AND client_start < fromUnixTimestamp64Milli(toInt64({to_s:UInt32}) * 1000)
  AND server_start >= fromUnixTimestamp64Milli((toInt64({from_s:UInt32}) - 60) * 1000)
  AND server_start < fromUnixTimestamp64Milli((toInt64({to_s:UInt32}) + 60) * 1000)
  AND if({role:String} = 'server', server_service, client_service) = {service:String}
  AND ({host:String} = '' OR if({role:String} = 'server', server_host, client_host) = {host:String})
  AND ({protocol:String} = '' OR protocol = {protocol:String})
  AND ({operation:String} = '' OR operation = {operation:String})
  AND network_ns IS NOT NULL
GROUP BY step
HAVING joined > 0
ORDER BY step
