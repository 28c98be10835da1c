-- Bytes per hour and service.
SELECT date_trunc('hour', start_time) AS hour, service, sum(bytes) AS bytes
FROM flows
WHERE log_status = 'OK'
GROUP BY hour, service
ORDER BY hour, bytes DESC
