import { ApiError, getJson, postJson, send } from './http.ts'

export interface Session {
  email: string
  contractNumber: number
  role: 'owner' | 'admin' | 'member'
  operator: boolean
  contracts: number[]
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

export async function signOut(): Promise<void> {
  await send('DELETE', '/weir/v1/session')
}
