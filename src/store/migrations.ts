import { type Kysely, type RawBuilder, sql } from 'kysely'
import { WeirError } from '../model/errors.ts'

export type DialectName = 'sqlite' | 'postgres'

interface Migration {
  name: string
  only?: DialectName
  /** Says what is in the way, if anything; asked before the statements. */
  obstacle?: (tx: AnyDb) => Promise<string | undefined>
  statements: readonly string[]
}

type AnyDb = Parameters<RawBuilder<unknown>['execute']>[0]

/**
 * Each is run once, in this order, all of one start in one transaction. Never change one that was released:
 * add.
 */
export const MIGRATIONS: Migration[] = [
  {
    name: '0001-first',
    statements: [
      `create table settings (name text primary key, value text not null)`,
      `create table contracts (contract_number bigint primary key, name text not null, created_at bigint not null)`,
      `create table users (id text primary key, email text not null unique, password_hash text,
        first_name text not null, last_name text not null, operator integer not null, active integer not null,
        created_at bigint not null)`,
      `create table contract_users (contract_number bigint not null references contracts,
        user_id text not null references users on delete cascade, role text not null,
        primary key (user_id, contract_number))`,
      `create table tokens (id text primary key, hash text not null unique,
        user_id text not null references users on delete cascade, contract_number bigint not null,
        purpose text not null, created_at bigint not null, expires_at bigint, revoked_at bigint)`,
      `create table user_groups (id text primary key, contract_number bigint not null references contracts,
        name text not null, privileges text not null, created_at bigint not null)`,
      `create table group_users (group_id text not null references user_groups on delete cascade,
        user_id text not null references users on delete cascade, primary key (user_id, group_id))`,
      `create table group_shares (group_id text not null references user_groups on delete cascade,
        resource_id text not null, may_edit integer not null, primary key (resource_id, group_id))`,
      `create table agents (host text primary key, version bigint not null, last_seen_at bigint,
        agent_version text, started_at text, health text)`,
      `create table agent_tokens (id text primary key, hash text not null unique,
        host text not null references agents on delete cascade, purpose text not null,
        created_at bigint not null, revoked_at bigint)`,
      `create table enrolments (hash text primary key, host text not null, expires_at bigint not null, used_at bigint)`,
      `create table resources ($ORDINAL, id text not null unique, type text not null,
        contract_number bigint not null references contracts, parent_id text not null, path text not null unique,
        properties text not null, state text not null, pending integer not null, deleting integer not null,
        version integer not null, etag text not null, created_at bigint not null, created_by text not null,
        created_by_id text not null, modified_at bigint not null, modified_by text not null,
        modified_by_id text not null)`,
      `create index resources_parent on resources (parent_id, type, ordinal)`,
      `create index resources_contract on resources (contract_number, type, ordinal)`,
      `create table flow_logs (id text primary key, interface_id text not null, contract_number bigint not null,
        action text not null, direction text not null, bucket text not null, prefix text not null, host text,
        binding text not null, created_at bigint not null, deleted_at bigint, objects bigint not null,
        octets bigint not null, records bigint not null, last_object text, last_delivered_at bigint,
        last_error text, last_error_at bigint)`,
      `create unique index flow_logs_interface on flow_logs (interface_id) where deleted_at is null`,
      `create index flow_logs_host on flow_logs (host) where deleted_at is null`,
      `create index flow_logs_contract on flow_logs (contract_number)`,
      `create table points (flow_log_id text not null, host text not null, state text not null, device text,
        message text, reported_at bigint, removed_version bigint, primary key (flow_log_id, host))`,
      `create index points_host on points (host)`,
      `create table carriers (flow_log_id text not null, host text not null, primary key (flow_log_id, host))`,
      `create table requests ($ORDINAL, id text not null unique, contract_number bigint not null,
        method text not null, url text not null, headers text not null, body text not null, status text not null,
        message text not null, etag text not null, created_at bigint not null, created_by text not null,
        created_by_id text not null, finished_at bigint)`,
      `create index requests_contract on requests (contract_number, ordinal)`,
      `create index requests_unfinished on requests (ordinal) where finished_at is null`,
      `create table request_targets (request_id text not null, resource_id text not null, type text not null,
        path text not null, role text not null, wait text not null, deletes integer not null, status text not null,
        due_at bigint not null, primary key (request_id, resource_id))`,
      `create table objects (host text not null, segment_id text not null, bucket text not null,
        object_name text not null, contract_number bigint not null, flow_log_ids text not null,
        window_start_s bigint not null, size bigint not null, sha256 text not null, records bigint not null,
        reserved_at bigint not null, delivered_at bigint, primary key (host, segment_id))`,
      `create unique index objects_name on objects (bucket, object_name)`,
      `create table buckets (name text primary key, contract_number bigint not null references contracts,
        created_at bigint not null, created_by text not null)`,
      `create table audit ($ORDINAL, contract_number bigint not null, at bigint not null, user_id text not null,
        email text not null, address text not null, method text not null, path text not null,
        status integer not null, request_id text)`,
      `create index audit_contract on audit (contract_number, ordinal)`,
    ],
  },
  {
    // What replicas tell each other of flows that somebody looks at: seconds old at most, and not in the log that
    // makes data outlive a crash. One process alone keeps it in memory.
    name: '0002-live',
    only: 'postgres',
    statements: [
      `create unlogged table live_wanted (host text not null, flow_log_id text not null, until_ms bigint not null,
        primary key (host, flow_log_id))`,
      `create unlogged table live_told (host text not null, flow_log_id text not null, told text not null,
        told_ms bigint not null, until_ms bigint not null, primary key (host, flow_log_id))`,
    ],
  },
  {
    name: '0003-targets-by-resource',
    statements: [`create index request_targets_resource on request_targets (resource_id, role)`],
  },
  {
    name: '0004-assignments-by-version',
    statements: [
      `alter table agents add column whole_version bigint not null default 0`,
      `update agents set whole_version = version`,
      `alter table flow_logs add column assigned_version bigint not null default 0`,
      `drop index flow_logs_host`,
      `create index flow_logs_host on flow_logs (host, assigned_version) where deleted_at is null`,
      `drop index points_host`,
      `create index points_host on points (host, removed_version)`,
      `create index requests_queued on requests (ordinal) where status = 'QUEUED'`,
    ],
  },
  {
    // Nobody may look like somebody else by a capital letter.
    name: '0005-addresses-in-any-case',
    obstacle: sameAddresses,
    statements: [`create unique index users_address on users (lower(email))`],
  },
  {
    name: '0006-claims',
    statements: [
      `alter table flow_logs add column claimed_by text`,
      `update flow_logs set claimed_by = (select min(points.host) from points
        where points.flow_log_id = flow_logs.id and points.state = 'attached') where host is null`,
      `alter table agents add column told_version bigint not null default 0`,
      `update agents set told_version = version`,
    ],
  },
  {
    name: '0007-retries',
    statements: [
      `alter table carriers add column retry_version bigint not null default 0`,
      `create index carriers_retry on carriers (host, retry_version) where retry_version > 0`,
    ],
  },
  {
    // A creation wrote to some thirty B-trees. Paths are found by the id at their end, but for LANs; only data centers
    // are listed by contract; a target's status is its request's; what is named by a pair needs no row number.
    name: '0008-less-to-write',
    only: 'sqlite',
    statements: [
      `create table fewer ($ORDINAL, id text not null unique, type text not null,
        contract_number bigint not null references contracts, parent_id text not null, path text not null,
        properties text not null, state text not null, pending integer not null, deleting integer not null,
        version integer not null, etag text not null, created_at bigint not null, created_by text not null,
        created_by_id text not null, modified_at bigint not null, modified_by text not null,
        modified_by_id text not null)`,
      `insert into fewer select * from resources order by ordinal`,
      `drop table resources`,
      `alter table fewer rename to resources`,
      `create index resources_parent on resources (parent_id, type, ordinal)`,
      `create unique index resources_lan on resources (path) where type = 'lan'`,
      `create index resources_root on resources (contract_number, ordinal) where parent_id = ''`,
      `create table fewer (request_id text not null, resource_id text not null, type text not null, path text not null,
        role text not null, wait text not null, deletes integer not null, due_at bigint not null,
        primary key (request_id, resource_id)) without rowid`,
      `insert into fewer select request_id, resource_id, type, path, role, wait, deletes, due_at from request_targets`,
      `drop table request_targets`,
      `alter table fewer rename to request_targets`,
      `create index request_targets_resource on request_targets (resource_id, role)`,
      `create table fewer (flow_log_id text not null, host text not null, state text not null, device text,
        message text, reported_at bigint, removed_version bigint, primary key (flow_log_id, host)) without rowid`,
      `insert into fewer select * from points`,
      `drop table points`,
      `alter table fewer rename to points`,
      `create index points_host on points (host, removed_version) where removed_version is not null`,
      `create table fewer (flow_log_id text not null, host text not null, retry_version bigint not null default 0,
        primary key (flow_log_id, host)) without rowid`,
      `insert into fewer select * from carriers`,
      `drop table carriers`,
      `alter table fewer rename to carriers`,
      `create index carriers_retry on carriers (host, retry_version) where retry_version > 0`,
    ],
  },
  {
    // The rest stays as it is: replicas of the release before may still run, and read and write it.
    name: '0009-targets-without-status',
    only: 'postgres',
    statements: [`alter table request_targets alter column status set default 'RUNNING'`],
  },
  {
    // What is outdated is looked for while changes wait.
    name: '0010-outdated',
    statements: [
      `create index flow_logs_deleted on flow_logs (deleted_at) where deleted_at is not null`,
      `create index objects_delivered on objects (delivered_at) where delivered_at is not null`,
    ],
  },
  {
    name: '0011-twins',
    statements: [`alter table agents add column twin_seen_at bigint`],
  },
  {
    // Every request of a member asks what is shared with it.
    name: '0012-groups',
    statements: [
      `create index group_users_group on group_users (group_id)`,
      `create index group_shares_group on group_shares (group_id)`,
    ],
  },
]

const ORDINAL: Record<DialectName, string> = {
  sqlite: 'ordinal integer primary key autoincrement',
  postgres: 'ordinal bigserial primary key',
}

const USERS_SHOWN_MAX = 50

// Any number will do, as long as all replicas of all releases take the same.
const MIGRATION_LOCK = 0x77656972

/** Brings the schema up to date. Several replicas may start at once: they take turns. */
export async function migrate<Db>(
  db: Kysely<Db>,
  dialect: DialectName,
  migrations = MIGRATIONS,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    if (dialect === 'postgres') await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`.execute(tx)
    await sql`create table if not exists migrations (name text primary key)`.execute(tx)
    const done = await sql<{ name: string }>`select name from migrations`.execute(tx)
    const names = new Set(done.rows.map(({ name }) => name))
    for (const { name, only, obstacle, statements } of migrations) {
      if (names.has(name) || (only !== undefined && only !== dialect)) continue
      const reason = await obstacle?.(tx)
      if (reason !== undefined) {
        throw new WeirError('WEIR_CONFIG_INVALID', `the database was left as it was: ${reason}`)
      }
      for (const it of statements) await sql.raw(it.replace('$ORDINAL', ORDINAL[dialect])).execute(tx)
      await sql`insert into migrations (name) values (${name})`.execute(tx)
    }
  })
}

/** Which of these is who somebody means, only people know. */
async function sameAddresses(tx: AnyDb): Promise<string | undefined> {
  const { rows } = await sql<{ id: string; email: string }>`
    select id, email from users
    where lower(email) in (select lower(email) from users group by lower(email) having count(*) > 1)
    order by lower(email), created_at, id`.execute(tx)
  if (rows.length === 0) return undefined
  const shown = rows.slice(0, USERS_SHOWN_MAX).map(({ id, email }) => `${email} (id ${id})`)
  const more = rows.length > shown.length ? `, and ${rows.length - shown.length} more` : ''
  return (
    `these e-mail addresses are the same but for capital letters: ${shown.join(', ')}${more}. ` +
    'Leave one user each: change or delete the others with the former release, or by hand, such as ' +
    `update users set email = 'another@example.org' where id = '${rows.at(-1)!.id}'`
  )
}
