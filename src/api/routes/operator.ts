import { randomInt } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { WeirError } from '../../model/errors.ts'
import {
  type Account,
  contractNumbers,
  createContract,
  createUser,
  listContracts,
} from '../../store/accounts.ts'
import { issueEnrolment, revokeAgent } from '../../store/agents.ts'
import {
  findRegistration,
  listRegistrations,
  registerBucket,
  registerUsedBuckets,
  unregisterBucket,
} from '../../store/buckets.ts'
import { hashPassword } from '../../store/secrets.ts'
import type { Services } from '../app.ts'
import { assertOperator } from '../caller.ts'
import { wireDate } from '../render.ts'
import { assertBucketName, NewBucket } from './weir.ts'

const MINUTE_MS = 60_000
const text = Type.String({ minLength: 1, maxLength: 200 })

const NewContract = Type.Object(
  {
    contractNumber: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
    name: text,
    owner: Type.Object({
      email: Type.Unsafe<string>({ type: 'string', pattern: '^[^\\s@:]{1,100}@[^\\s@:]{1,150}$' }),
      password: Type.String({ minLength: 8, maxLength: 200 }),
      firstname: Type.Optional(text),
      lastname: Type.Optional(text),
    }),
  },
  { additionalProperties: false },
)
const NewEnrolment = Type.Object(
  {
    host: Type.Unsafe<string>({ type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$' }),
    minutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_080 })),
  },
  { additionalProperties: false },
)

interface ContractBody {
  contractNumber?: number
  name: string
  owner: { email: string; password: string; firstname?: string; lastname?: string }
}

/** What only the operator of the installation may do: let tenants and hosts in. */
export async function operatorRoutes(app: FastifyInstance, services: Services): Promise<void> {
  const { store } = services
  await app.register(async (operator) => {
    operator.addHook('onRequest', async (request) => assertOperator(request.account!))

    operator.get('/weir/v1/contracts', async () => {
      const items = (await listContracts(store.db)).map(({ createdAtMs, owner = null, ...rest }) => {
        return { ...rest, owner, createdAt: wireDate(createdAtMs) }
      })
      return { items }
    })

    operator.post('/weir/v1/contracts', { schema: { body: NewContract } }, async (request, reply) => {
      const { name, owner, ...given } = request.body as ContractBody
      const contractNumber = given.contractNumber ?? randomInt(10_000_000, 100_000_000)
      const passwordHash = await hashPassword(owner.password)
      await store.change(async (change) => {
        const [first, ...others] = await contractNumbers(change.tx, 2)
        if (first !== undefined && others.length === 0) {
          await registerUsedBuckets(change, { contractNumber: first, createdBy: request.account!.email })
        }
        await createContract(change, { contractNumber, name })
        await createUser(change, {
          email: owner.email,
          passwordHash,
          firstName: owner.firstname ?? 'Contract',
          lastName: owner.lastname ?? 'Owner',
          operator: false,
          contractNumber,
          role: 'owner',
        })
      })
      return reply.code(201).send({ contractNumber, name, owner: owner.email })
    })

    operator.post('/weir/v1/enrolments', { schema: { body: NewEnrolment } }, async (request, reply) => {
      const { host, minutes = 60 } = request.body as { host: string; minutes?: number }
      const expiresAtMs = store.clock.nowMs() + minutes * MINUTE_MS
      const code = await store.change((change) => issueEnrolment(change, { host, expiresAtMs }))
      return reply.code(201).send({ host, code, expiresAt: new Date(expiresAtMs).toISOString() })
    })

    operator.get('/weir/v1/registrations', async () => {
      const items = (await listRegistrations(store.db)).map(({ createdAtMs, ...rest }) => {
        return { ...rest, createdAt: new Date(createdAtMs).toISOString() }
      })
      return { items }
    })

    operator.post('/weir/v1/registrations', { schema: { body: NewBucket } }, async (request, reply) => {
      const { name } = request.body as { name: string }
      assertBucketName(name)
      const { contractNumber } = await register(services, request.account!, name)
      return reply.code(201).send({ name, contractNumber })
    })

    operator.delete('/weir/v1/registrations/:name', async (request, reply) => {
      const { name } = request.params as { name: string }
      const existed = await store.change((change) => unregisterBucket(change, name))
      if (!existed) throw new WeirError('WEIR_NOT_FOUND', `bucket '${name}' is not registered`)
      return reply.code(204).send()
    })

    operator.delete('/weir/v1/agents/:host', async (request, reply) => {
      const { host } = request.params as { host: string }
      await store.change((change) => revokeAgent(change, host))
      return reply.code(204).send()
    })
  })
}

/** Says that a bucket is of the contract that the operator acts in. Saying so twice is no mistake. */
async function register({ store, buckets }: Services, account: Account, name: string): Promise<Account> {
  const { contractNumber, email } = account
  const found = await buckets.findBucket(name)
  if (found === undefined) throw new WeirError('WEIR_BUCKET_MISSING', `bucket '${name}' does not exist`)
  if (found.contractNumber !== undefined && found.contractNumber !== contractNumber) {
    const message = `the store says that bucket '${name}' belongs to contract ${found.contractNumber}`
    throw new WeirError('WEIR_BUCKET_FOREIGN', message)
  }
  const known = await findRegistration(store.db, name)
  if (known === undefined) {
    await store.change((change) => registerBucket(change, { name, contractNumber, createdBy: email }))
  } else if (known.contractNumber !== contractNumber) {
    const message = `bucket '${name}' is registered for contract ${known.contractNumber}`
    throw new WeirError('WEIR_RESOURCE_EXISTS', message)
  }
  return account
}
