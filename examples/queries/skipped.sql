-- What could not be attributed to flows: packets that no other query here counts.
SELECT interface, window_start, sum(packets) AS packets, sum(bytes) AS bytes
FROM flows
WHERE log_status = 'SKIPDATA'
GROUP BY ALL
ORDER BY window_start
