SELECT connection_id, toInt8(role) AS end, argMax(host, time) AS host, argMax(service, time) AS service
FROM connections
WHERE time > now() - toIntervalSecond({seconds:UInt32}) AND connection_id != 0
GROUP BY connection_id, end
ORDER BY max(time) DESC
LIMIT {limit:UInt32}
