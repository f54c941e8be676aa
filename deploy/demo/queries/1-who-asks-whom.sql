-- who asks whom, on which host, counted at both ends
SELECT host, service, protocol, role, remote_service, sum(requests) AS requests
FROM request_stats_10s
GROUP BY ALL
ORDER BY ALL
