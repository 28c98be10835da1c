import { Type } from 'typebox'
import { AGENT_PROTOCOL_VERSION } from '../../model/agent-protocol.ts'
import { ACTIONS, DIRECTIONS } from '../../model/flow-log.ts'
import { closed, count, flag, oneOf, optional, type Schemas, text, time, uri } from './types.ts'

// What agents are told (docs/reference/agent-protocol.md).

const live = closed({ key: text, flowLogIds: Type.Array(text), forS: count })

const assignment = closed({
  flowLogId: text,
  interfaceId: text,
  contractNumber: count,
  action: oneOf(...ACTIONS),
  direction: oneOf(...DIRECTIONS),
  bucket: text,
  prefix: text,
  binding: closed({ side: oneOf('guest', 'own'), ...optional({ device: text, netns: text, mac: text }) }),
})

const refusal = closed({ error: closed({ status: count, code: Type.Optional(text), message: text }) })

const grant = closed({
  bucket: text,
  objectName: text,
  delivered: flag,
  url: uri,
  headers: Type.Record(text, text),
  expiresAt: time,
})

export const AGENT_ANSWERS = {
  live,
  assignments: closed({
    version: Type.String({ description: `Of the assignments; protocol ${AGENT_PROTOCOL_VERSION}` }),
    windowSizeS: count,
    assignments: Type.Array(assignment),
    ...optional({ since: text, withdrawn: Type.Array(text), live }),
  }),
  uploads: closed({ answers: Type.Array(Type.Union([grant, refusal])) }),
  acknowledgements: closed({
    answers: Type.Array(Type.Union([closed({ acknowledged: Type.Literal(true) }), refusal])),
  }),
} as const satisfies Schemas
