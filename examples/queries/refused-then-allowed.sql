-- Pairs that the firewall refused first and let through later, or the other way round: a rule that changed.
SELECT interface, srcaddr, dstaddr, protocol_name, dstport,
  min(start_time) FILTER (action = 'REJECT') AS first_refused,
  max(end_time) FILTER (action = 'REJECT') AS last_refused,
  min(start_time) FILTER (action = 'ACCEPT') AS first_allowed,
  max(end_time) FILTER (action = 'ACCEPT') AS last_allowed
FROM flows
GROUP BY ALL
HAVING first_refused IS NOT NULL AND first_allowed IS NOT NULL
ORDER BY greatest(last_refused, last_allowed) DESC
