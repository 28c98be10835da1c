import { PROTOCOL_NAMES, SERVICE_NAMES } from './well-known.ts'

export type FieldType =
  | 'address'
  | 'port'
  | 'protocol'
  | 'count'
  | 'span'
  | 'time'
  | 'word'
  | 'interface'
  | 'service'
export type Operator = '=' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in'

export interface FilterField {
  name: string
  aliases: readonly string[]
  type: FieldType
  description: string
  /** What a word may be, in the form of the records. */
  words?: Readonly<Record<string, string>>
}

const EQUALITY: readonly Operator[] = ['=', '!=', 'in', 'not in']
const ORDER: readonly Operator[] = ['=', '!=', '<', '<=', '>', '>=', 'in', 'not in']

/** The fields of the filter line. A name or an alias is how it is typed, in any case. */
export const FILTER_FIELDS: readonly FilterField[] = [
  { name: 'src', aliases: ['srcaddr', 'source'], type: 'address', description: 'source address or network' },
  {
    name: 'dst',
    aliases: ['dstaddr', 'destination'],
    type: 'address',
    description: 'destination address or network',
  },
  { name: 'addr', aliases: ['address', 'host', 'ip'], type: 'address', description: 'either address' },
  { name: 'srcnet', aliases: [], type: 'address', description: 'source network, as in a split by srcnet' },
  { name: 'dstnet', aliases: [], type: 'address', description: 'destination network' },
  {
    name: 'srcport',
    aliases: ['sport'],
    type: 'port',
    description: 'source port, number, range or service name',
  },
  { name: 'dstport', aliases: ['dport'], type: 'port', description: 'destination port' },
  { name: 'port', aliases: [], type: 'port', description: 'either port' },
  {
    name: 'protocol',
    aliases: ['proto'],
    type: 'protocol',
    description: 'IANA number or name: tcp, udp, icmp …',
  },
  { name: 'service', aliases: [], type: 'service', description: 'protocol and the lower port: tcp/443' },
  {
    name: 'action',
    aliases: ['verdict'],
    type: 'word',
    description: 'accept or reject',
    words: {
      accept: 'ACCEPT',
      accepted: 'ACCEPT',
      allow: 'ACCEPT',
      reject: 'REJECT',
      rejected: 'REJECT',
      deny: 'REJECT',
    },
  },
  {
    name: 'direction',
    aliases: ['dir'],
    type: 'word',
    description: "ingress or egress, by the interface's own addresses",
    words: { ingress: 'INGRESS', in: 'INGRESS', egress: 'EGRESS', out: 'EGRESS' },
  },
  {
    name: 'interface',
    aliases: ['nic', 'interface-id', 'interface_id'],
    type: 'interface',
    description: 'name or UUID',
  },
  { name: 'packets', aliases: [], type: 'count', description: 'packets of a record: 10, 5k' },
  { name: 'bytes', aliases: ['octets'], type: 'count', description: 'bytes of a record: 1500, 10MB, 1GiB' },
  { name: 'duration', aliases: [], type: 'span', description: 'from first to last packet: 30s, 5m' },
  { name: 'start', aliases: [], type: 'time', description: 'time of the first packet' },
  { name: 'end', aliases: [], type: 'time', description: 'time of the last packet' },
  {
    name: 'status',
    aliases: ['log-status', 'log_status'],
    type: 'word',
    description: 'log status',
    words: { ok: 'OK', skipdata: 'SKIPDATA', nodata: 'NODATA' },
  },
]

const BY_NAME = new Map(
  FILTER_FIELDS.flatMap((field) => [field.name, ...field.aliases].map((name) => [name, field] as const)),
)

export function findField(name: string): FilterField | undefined {
  return BY_NAME.get(name.toLowerCase())
}

export function operatorsOf(field: FilterField): readonly Operator[] {
  return ['address', 'word', 'interface', 'service', 'protocol'].includes(field.type) ? EQUALITY : ORDER
}

/** Values that need no data to be suggested. */
export function knownValues(field: FilterField): string[] {
  if (field.words !== undefined) {
    const shortest = new Map(Object.entries(field.words).map(([word, value]) => [value, word]))
    for (const [word, value] of Object.entries(field.words)) {
      if (value.toLowerCase().startsWith(word) && word.length >= value.length - 2) shortest.set(value, word)
    }
    return [...shortest.values()]
  }
  if (field.type === 'protocol') return Object.values(PROTOCOL_NAMES)
  if (field.type === 'port') return Object.values(SERVICE_NAMES)
  return []
}
