SELECT host, reinterpretAsFixedString(address) AS address, port, argMax(service, last_seen) AS service
FROM endpoints
WHERE last_seen > now() - toIntervalSecond({seconds:UInt32})
GROUP BY host, address, port
