-- Who sends most.
SELECT srcaddr, sum(bytes) AS bytes, sum(packets) AS packets, count(*) AS flows
FROM flows
WHERE log_status = 'OK'
GROUP BY srcaddr
ORDER BY bytes DESC
LIMIT 20
