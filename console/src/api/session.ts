import { ApiError, getJson, postJson, send } from './http.ts'

type Role = 'owner' | 'admin' | 'member'

export interface Session {
  email: string
  contractNumber: number
  role: Role
  operator: boolean
  /** What the session can be switched to, its own contract among them. */
  contracts: { contractNumber: number; name: string; role: Role }[]
  windowSizeS: number
}

export type Credentials = { username: string; password: string } | { token: string }

/** Undefined when nobody is signed in. */
export async function currentSession(signal: AbortSignal): Promise<Session | undefined> {
  try {
    return await getJson<Session>('/weir/v1/session', signal)
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return undefined
    throw error
  }
}

export function signIn(credentials: Credentials): Promise<Session> {
  return postJson<Session>('/weir/v1/session', credentials)
}

export async function switchContract(contractNumber: number): Promise<Session> {
  return (await (await send('PUT', '/weir/v1/session', { body: { contractNumber } })).json()) as Session
}

export async function signOut(): Promise<void> {
  await send('DELETE', '/weir/v1/session')
}
