import { parseArgs } from 'node:util'
import { S3Store } from '../../buckets/s3/s3-store.ts'
import { WeirError } from '../../model/errors.ts'
import { type CommandContext, ExitCode } from '../command.ts'
import { parseS3, S3_OPTIONS } from '../s3-options.ts'

const OPTIONS = { ...S3_OPTIONS, 'technical-user': { type: 'string' } } as const

/** Prints what the owner of a bucket pastes to let the technical user deliver into it. */
export async function grantHelp(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true })
  const [bucket, ...others] = positionals
  if (bucket === undefined || others.length > 0)
    throw new WeirError('WEIR_USAGE', 'grant-help takes one bucket name')
  const id = values['technical-user'] ?? (await askedFor(parseS3(values, context.env)))
  context.stdout.write(grantText(bucket, id, values['s3-endpoint'] ?? 'https://s3.example.org'))
  return ExitCode.ok
}

async function askedFor(s3: ReturnType<typeof parseS3>): Promise<string> {
  if (s3 === undefined) {
    throw new WeirError(
      'WEIR_USAGE',
      'say who delivers: --technical-user ID, or --s3-endpoint URL with its keys',
    )
  }
  const store = new S3Store(s3)
  try {
    const id = await store.technicalUser()
    if (id !== undefined) return id
  } finally {
    store.stop()
  }
  throw new WeirError(
    'WEIR_UNSUPPORTED',
    'the store does not say who its users are: give --technical-user ID',
  )
}

/** By ACL or by policy: either is enough. An ACL replaces the one before, so the owner's own grant stands in it. */
export function grantText(bucket: string, technicalUser: string, endpoint: string): string {
  const principal = { AWS: [`arn:aws:iam:::user/${technicalUser}`] }
  const policy = {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: principal,
        Action: ['s3:GetBucketAcl'],
        Resource: [`arn:aws:s3:::${bucket}`],
      },
      {
        Effect: 'Allow',
        Principal: principal,
        Action: ['s3:PutObject', 's3:PutObjectAcl', 's3:GetObject'],
        Resource: [`arn:aws:s3:::${bucket}/*`],
      },
    ],
  }
  return `# Either by ACL (OWNER is your own canonical id; without it you lose access to your bucket):
aws --endpoint-url '${endpoint}' s3api put-bucket-acl --bucket '${bucket}' \\
  --grant-full-control 'id="OWNER"' \\
  --grant-write 'id="${technicalUser}"' \\
  --grant-read-acp 'id="${technicalUser}"'

# or by policy (narrow the second Resource to a prefix if you like):
aws --endpoint-url '${endpoint}' s3api put-bucket-policy --bucket '${bucket}' --policy '${JSON.stringify(policy)}'
`
}
