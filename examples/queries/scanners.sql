-- Sources that tried many ports or many addresses and were refused.
SELECT srcaddr, count(DISTINCT dstport) AS ports, count(DISTINCT dstaddr) AS addresses, count(*) AS flows,
  min(start_time) AS first, max(end_time) AS last
FROM flows
WHERE action = 'REJECT'
GROUP BY srcaddr
HAVING ports >= 20 OR addresses >= 20
ORDER BY ports * addresses DESC
