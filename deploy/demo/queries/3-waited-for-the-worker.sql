-- requests that waited for the busy worker, and were quick once it came
SELECT start, resource, round(queue_ns / 1e6, 1) AS queue_ms, round(process_ns / 1e6, 1) AS process_ms
FROM requests
WHERE host = 'app' AND role = 'server' AND queue_ns > 10000000
ORDER BY start DESC
LIMIT 10
