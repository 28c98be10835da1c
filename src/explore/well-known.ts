/** IANA protocol numbers that are met in practice, by the names that people type. */
export const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  1: 'icmp',
  2: 'igmp',
  4: 'ipip',
  6: 'tcp',
  8: 'egp',
  17: 'udp',
  33: 'dccp',
  41: 'ipv6',
  46: 'rsvp',
  47: 'gre',
  50: 'esp',
  51: 'ah',
  58: 'icmpv6',
  88: 'eigrp',
  89: 'ospf',
  103: 'pim',
  112: 'vrrp',
  115: 'l2tp',
  132: 'sctp',
  136: 'udplite',
}

/** Service names of the IANA registry (or of long custom) that are worth more than their number. */
export const SERVICE_NAMES: Readonly<Record<number, string>> = {
  20: 'ftp-data',
  21: 'ftp',
  22: 'ssh',
  23: 'telnet',
  25: 'smtp',
  53: 'dns',
  67: 'dhcp',
  68: 'dhcp-client',
  69: 'tftp',
  80: 'http',
  88: 'kerberos',
  110: 'pop3',
  111: 'rpcbind',
  119: 'nntp',
  123: 'ntp',
  135: 'msrpc',
  137: 'netbios-ns',
  138: 'netbios-dgm',
  139: 'netbios-ssn',
  143: 'imap',
  161: 'snmp',
  162: 'snmp-trap',
  179: 'bgp',
  389: 'ldap',
  443: 'https',
  445: 'smb',
  465: 'smtps',
  500: 'ike',
  514: 'syslog',
  515: 'printer',
  546: 'dhcpv6-client',
  547: 'dhcpv6',
  554: 'rtsp',
  587: 'submission',
  631: 'ipp',
  636: 'ldaps',
  853: 'dns-tls',
  873: 'rsync',
  989: 'ftps-data',
  990: 'ftps',
  993: 'imaps',
  995: 'pop3s',
  1080: 'socks',
  1194: 'openvpn',
  1433: 'mssql',
  1521: 'oracle',
  1701: 'l2tp',
  1723: 'pptp',
  1883: 'mqtt',
  1900: 'ssdp',
  2049: 'nfs',
  2181: 'zookeeper',
  2375: 'docker',
  2376: 'docker-tls',
  2379: 'etcd',
  2380: 'etcd-peer',
  3000: 'grafana',
  3128: 'squid',
  3260: 'iscsi',
  3306: 'mysql',
  3389: 'rdp',
  3478: 'stun',
  4500: 'ipsec-nat-t',
  4789: 'vxlan',
  5060: 'sip',
  5061: 'sips',
  5201: 'iperf3',
  5222: 'xmpp',
  5353: 'mdns',
  5355: 'llmnr',
  5432: 'postgresql',
  5601: 'kibana',
  5671: 'amqps',
  5672: 'amqp',
  5900: 'vnc',
  5985: 'winrm',
  6081: 'geneve',
  6379: 'redis',
  6443: 'kubernetes',
  6514: 'syslog-tls',
  6667: 'irc',
  7946: 'swarm',
  8080: 'http-alt',
  8086: 'influxdb',
  8443: 'https-alt',
  8883: 'mqtts',
  9000: 'clickhouse',
  9090: 'prometheus',
  9092: 'kafka',
  9100: 'node-exporter',
  9200: 'elasticsearch',
  9418: 'git',
  10250: 'kubelet',
  11211: 'memcached',
  27017: 'mongodb',
  51820: 'wireguard',
}

const PROTOCOL_NUMBERS = new Map(
  Object.entries(PROTOCOL_NAMES).map(([number, name]) => [name, Number(number)]),
)
const SERVICE_PORTS = new Map(Object.entries(SERVICE_NAMES).map(([port, name]) => [name, Number(port)]))

export function protocolName(protocol: number): string {
  return PROTOCOL_NAMES[protocol] ?? String(protocol)
}

/** The number behind a name or a number in text; undefined for neither. */
export function protocolNumber(text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= 255 ? Number(text) : undefined
  return PROTOCOL_NUMBERS.get(text.toLowerCase())
}

export function portNumber(text: string): number | undefined {
  if (/^\d{1,5}$/.test(text)) return Number(text) <= 65_535 ? Number(text) : undefined
  return SERVICE_PORTS.get(text.toLowerCase())
}

/** `https (tcp/443)` where the number has a name. */
export function serviceLabel(service: string): string {
  const name = SERVICE_NAMES[Number(service.split('/')[1])]
  return name === undefined ? service : `${name} (${service})`
}

/** `https (443)` where the number has a name. */
export function portLabel(port: number): string {
  const name = SERVICE_NAMES[port]
  return name === undefined ? String(port) : `${name} (${port})`
}

/** `TCP https (443)`; the protocol alone where it has no ports. */
export function protocolPortLabel(protocol: number, port: number | null): string {
  const name = protocolName(protocol).toUpperCase()
  return port ? `${name} ${portLabel(port)}` : name
}
