import { randomInt } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { createContract, createUser } from '../../store/accounts.ts'
import { issueEnrolment, revokeAgent } from '../../store/agents.ts'
import { hashPassword } from '../../store/secrets.ts'
import type { Services } from '../app.ts'
import { assertOperator } from '../caller.ts'

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

    operator.post('/weir/v1/contracts', { schema: { body: NewContract } }, async (request, reply) => {
      const { name, owner, ...given } = request.body as ContractBody
      const contractNumber = given.contractNumber ?? randomInt(10_000_000, 100_000_000)
      const passwordHash = await hashPassword(owner.password)
      await store.change(async (change) => {
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

    operator.delete('/weir/v1/agents/:host', async (request, reply) => {
      const { host } = request.params as { host: string }
      await store.change((change) => revokeAgent(change, host))
      return reply.code(204).send()
    })
  })
}
