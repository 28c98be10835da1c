import { parseArgs } from 'node:util'
import { S3Lifecycle } from '../../buckets/s3/s3-lifecycle.ts'
import { WeirError } from '../../model/errors.ts'
import { LIFECYCLE_DAYS_MAX, type LifecycleRule, noRule } from '../../model/lifecycle.ts'
import { connect, SERVER_OPTIONS } from '../api-client.ts'
import { type CommandContext, ExitCode } from '../command.ts'
import { parseCount } from '../options.ts'
import { parseS3, S3_OPTIONS } from '../s3-options.ts'
import { printTable } from '../table.ts'

/** What both kinds of store can do with their rules. */
interface Rules {
  show(bucket: string): Promise<LifecycleRule[]>
  set(bucket: string, rule: LifecycleRule): Promise<void>
  clear(bucket: string, prefix: string): Promise<void>
}

const OPTIONS = {
  ...SERVER_OPTIONS,
  ...S3_OPTIONS,
  prefix: { type: 'string' },
  days: { type: 'string' },
} as const

export async function lifecycle(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true })
  const [verb, bucket, ...others] = positionals
  if (bucket === undefined || others.length > 0) {
    throw new WeirError('WEIR_USAGE', 'lifecycle takes show, set or clear, and one bucket name')
  }
  const s3 = parseS3(values, context.env)
  const client = s3 === undefined ? undefined : new S3Lifecycle(s3)
  try {
    const rules = client === undefined ? embeddedRules(connect(values, context)) : s3Rules(client)
    if (verb === 'set') await rules.set(bucket, ruleFrom(values))
    else if (verb === 'clear') await rules.clear(bucket, prefixFrom(values))
    else if (verb !== 'show') throw new WeirError('WEIR_USAGE', `expected show, set or clear, not '${verb}'`)
    print(await rules.show(bucket), values.json === true, context)
    return ExitCode.ok
  } finally {
    client?.stop()
  }
}

function s3Rules(client: S3Lifecycle): Rules {
  return {
    show: (bucket) => client.rules(bucket),
    set: (bucket, rule) => client.set(bucket, rule),
    clear: async (bucket, prefix) => {
      if (!(await client.clear(bucket, prefix))) throw noRule(bucket, prefix)
    },
  }
}

function embeddedRules(api: ReturnType<typeof connect>): Rules {
  const path = (bucket: string) => `/weir/v1/buckets/${encodeURIComponent(bucket)}/lifecycle`
  return {
    show: async (bucket) => (await api.get<{ items: LifecycleRule[] }>(path(bucket))).items,
    set: async (bucket, rule) => void (await api.post(path(bucket), rule)),
    clear: async (bucket, prefix) => void (await api.post(path(bucket), { prefix, days: null })),
  }
}

function prefixFrom({ prefix }: { prefix?: string | undefined }): string {
  if (prefix === undefined)
    throw new WeirError('WEIR_USAGE', "--prefix is missing; '' is all objects of the bucket")
  return prefix
}

function ruleFrom(values: { prefix?: string | undefined; days?: string | undefined }): LifecycleRule {
  if (values.days === undefined) throw new WeirError('WEIR_USAGE', '--days is missing')
  const days = parseCount('days', values.days, { min: 1, max: LIFECYCLE_DAYS_MAX })
  return { prefix: prefixFrom(values), days }
}

function print(rules: LifecycleRule[], asJson: boolean, context: CommandContext): void {
  if (asJson) context.stdout.write(`${JSON.stringify(rules)}\n`)
  else if (rules.length === 0) context.stderr.write('no rules: objects stay until somebody removes them\n')
  else {
    const columns = [
      { title: 'PREFIX', value: (it: LifecycleRule) => it.prefix },
      { title: 'DAYS', value: (it: LifecycleRule) => `${it.days}` },
    ]
    printTable(context.stdout, columns, rules, { colours: context.stdoutIsTerminal })
  }
}
