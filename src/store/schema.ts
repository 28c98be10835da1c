import type { Generated } from 'kysely'
import type { Action, Direction } from '../model/flow-log.ts'

/**
 * The tables, as both SQLite and PostgreSQL have them. Times are milliseconds since the Unix epoch, truth
 * values 0 or 1, and what is only ever read whole is JSON in a text column, so that both databases give
 * back the same JavaScript values.
 */
export interface Tables {
  settings: { name: string; value: string }
  contracts: { contract_number: number; name: string; created_at: number }
  users: UserRow
  contract_users: { contract_number: number; user_id: string; role: Role }
  tokens: TokenRow
  user_groups: { id: string; contract_number: number; name: string; privileges: string; created_at: number }
  group_users: { group_id: string; user_id: string }
  group_shares: { group_id: string; resource_id: string; may_edit: number }
  agents: AgentRow
  agent_tokens: {
    id: string
    hash: string
    host: string
    purpose: string
    created_at: number
    revoked_at: number | null
  }
  enrolments: { hash: string; host: string; expires_at: number; used_at: number | null }
  resources: ResourceTable
  flow_logs: FlowLogRow
  points: PointRow
  /** `retry_version`: the version of the host's assignments that asked it to try the delivery again; 0 for none. */
  carriers: { flow_log_id: string; host: string; retry_version: Generated<number> }
  requests: RequestTable
  request_targets: RequestTargetRow
  objects: ObjectRow
  buckets: { name: string; contract_number: number; created_at: number; created_by: string }
  audit: AuditTable
  /** Only in PostgreSQL; `_ms` by the database's clock, which all replicas share. */
  live_wanted: { host: string; flow_log_id: string; until_ms: number }
  live_told: { host: string; flow_log_id: string; told: string; told_ms: number; until_ms: number }
}

export type Role = 'owner' | 'admin' | 'member'

export interface UserRow {
  id: string
  email: string
  /** scrypt, as `secrets.ts` writes it; null for users who only ever come with a token. */
  password_hash: string | null
  first_name: string
  last_name: string
  /** Runs the installation: may bind interfaces to devices and act for any contract. */
  operator: number
  active: number
  created_at: number
}

export interface TokenRow {
  id: string
  hash: string
  user_id: string
  contract_number: number
  purpose: string
  created_at: number
  expires_at: number | null
  revoked_at: number | null
}

export interface AgentRow {
  host: string
  /** Counts the changes of this host's assignments. */
  version: number
  /** Whoever knows an older version is told all assignments: what has changed since cannot be told apart. */
  whole_version: number
  /** Grows with `version`, but for changes by a replica of an older release, which says less of what it changes. */
  told_version: number
  last_seen_at: number | null
  agent_version: string | null
  started_at: string | null
  health: string | null
  /** When an agent reported that had started before the one that reported last: two machines have one token. */
  twin_seen_at: number | null
}

/** Everything a tenant's inventory is made of: data centers, servers, NICs, gateways, flow logs. */
export interface ResourceTable {
  ordinal: Generated<number>
  id: string
  type: string
  contract_number: number
  /** '' for a data center. */
  parent_id: string
  /** Below the API's base, such as `/datacenters/…/servers/…`: names the resource and all its ancestors. */
  path: string
  properties: string
  state: 'AVAILABLE' | 'INACTIVE'
  /** Requests that are not finished and touch this resource; above zero it is BUSY. */
  pending: number
  /** 1 from the acceptance of a DELETE to its end. */
  deleting: number
  /** Counts what was changed at it or below it. */
  version: number
  etag: string
  created_at: number
  created_by: string
  created_by_id: string
  modified_at: number
  modified_by: string
  modified_by_id: string
}
export type ResourceRow = Omit<ResourceTable, 'ordinal'>

/**
 * What capture and delivery need of a flow log. Outlives the resource: uploads of a deleted one stay
 * permitted.
 */
export interface FlowLogRow {
  id: string
  interface_id: string
  contract_number: number
  action: Action
  direction: Direction
  bucket: string
  prefix: string
  /** The host that has the device; null when every agent looks for it by MAC address. */
  host: string | null
  /** Of one without `host`: the host that has it, or had it last. */
  claimed_by: string | null
  /** The version of the host's assignments that brought this one, as it is now. */
  assigned_version: number
  binding: string
  created_at: number
  deleted_at: number | null
  objects: number
  octets: number
  records: number
  last_object: string | null
  last_delivered_at: number | null
  last_error: string | null
  last_error_at: number | null
}

/** What one agent said about one flow log. */
export interface PointRow {
  flow_log_id: string
  host: string
  state: 'attached' | 'waiting' | 'failed' | 'assigned'
  device: string | null
  message: string | null
  reported_at: number | null
  /**
   * Set when the assignment is withdrawn: the version from which on the agent's silence means that it is
   * gone.
   */
  removed_version: number | null
}

export type RequestStatus = 'QUEUED' | 'RUNNING' | 'DONE' | 'FAILED'

export interface RequestTable {
  ordinal: Generated<number>
  id: string
  contract_number: number
  method: string
  url: string
  headers: string
  body: string
  status: RequestStatus
  message: string
  etag: string
  created_at: number
  created_by: string
  created_by_id: string
  finished_at: number | null
}
export type RequestRow = Omit<RequestTable, 'ordinal'> & { ordinal: number }

export interface RequestTargetRow {
  request_id: string
  resource_id: string
  type: string
  path: string
  /** Parents turn BUSY with their targets, and are no more than that. */
  role: 'target' | 'parent'
  wait: 'none' | 'attach' | 'detach'
  deletes: number
  due_at: number
}

/** An object name, reserved for one segment of one host, for ever. */
export interface ObjectRow {
  host: string
  segment_id: string
  bucket: string
  object_name: string
  contract_number: number
  flow_log_ids: string
  window_start_s: number
  size: number
  sha256: string
  records: number
  reserved_at: number
  delivered_at: number | null
}

export interface AuditTable {
  ordinal: Generated<number>
  contract_number: number
  at: number
  user_id: string
  email: string
  address: string
  method: string
  path: string
  status: number
  request_id: string | null
}
