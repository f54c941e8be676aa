-- where the time of each statement goes, at the database's end
SELECT statement, count() AS n, round(median(duration_ns) / 1e6, 2) AS ms,
    round(median(queue_ns) / 1e6, 2) AS queue_ms, round(median(process_ns) / 1e6, 2) AS process_ms
FROM requests
WHERE protocol = 'mysql' AND role = 'server'
GROUP BY statement
ORDER BY ms DESC
LIMIT 8
