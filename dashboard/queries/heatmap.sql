-- A step and a band of durations: requests. Band b is eight buckets of the sketch: (g^(8b-8), g^(8b)] ns, 17 in a hundred wide;
-- key -32768, requests of 0 ns, is band -4096.
SELECT
    intDiv(toUnixTimestamp(time), {step_s:UInt32}) * {step_s:UInt32} AS step,
    toInt32(ceil(bucket.1 / 8)) AS band,
    sum(bucket.2) AS total
FROM {stats:Identifier} AS s
ARRAY JOIN arrayZip(mapKeys(s.duration), mapValues(s.duration)) AS bucket
WHERE time >= toDateTime({from_s:UInt32}) AND time < toDateTime({to_s:UInt32})
  AND service = {service:String}
  AND role = {role:String}
  AND ({host:String} = '' OR host = {host:String})
  AND ({protocol:String} = '' OR protocol = {protocol:String})
  AND ({operation:String} = '' OR operation = {operation:String})
GROUP BY step, band
ORDER BY step, band
