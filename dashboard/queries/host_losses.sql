-- A host: what its agent lost, could not pair or could not read in the range, and what it still has to deliver.
SELECT
    host,
    sum(lost_in_kernel) AS lost_kernel,
    sum(lost_in_agent) AS lost_agent,
    sum(dropped_batches) AS dropped,
    sum(a.unmatched) AS unmatched_requests,
    sum(a.unparsed) AS unparsed_requests,
    argMax(a.spooled_bytes, time) AS spooled,
    if(sumIf(interval_ns, probe = 'agent') = 0, NULL,
       sumIf(cpu_ns, probe = 'agent') / sumIf(interval_ns, probe = 'agent')) AS agent_cpu
FROM agent_stats AS a
WHERE time >= fromUnixTimestamp64Milli(toInt64({from_s:UInt32}) * 1000)
  AND time < fromUnixTimestamp64Milli(toInt64({to_s:UInt32}) * 1000)
GROUP BY host
