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

/**
 * By ACL or by policy: either is enough. An ACL without the owner's own grant would lock the owner out, so it stands in
 * it, by an id that the owner need not know.
 */
function grantText(bucket: string, technicalUser: string, endpoint: string): string {
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
  const aws = `aws --endpoint-url '${endpoint}' s3api`
  return `# One of the two, with the keys of the bucket's owner. By ACL; it replaces the one before:
OWNER=$(${aws} list-buckets --query Owner.ID --output text) &&
${aws} put-bucket-acl --bucket '${bucket}' \\
  --grant-full-control "id=\\"$OWNER\\"" \\
  --grant-write 'id="${technicalUser}"' \\
  --grant-read-acp 'id="${technicalUser}"'

# Or by policy (narrow the second Resource to a prefix if you like); it replaces the one before, too:
${aws} put-bucket-policy --bucket '${bucket}' --policy '${JSON.stringify(policy)}'
`
}
