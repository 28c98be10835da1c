import { useEffect } from 'react'
import { type Datacenter, type Interface, loadInventory } from '../api/cloud.ts'
import { unlessIdle } from './idle.ts'
import { type Loaded, useLoaded } from './load.ts'

const REFRESH_MS = 60_000

/**
 * The contract's inventory. It is large and changes seldom, so it is asked for once a minute, and at once when
 * the flow logs that a page sees elsewhere are not the ones that it knows.
 */
export function useInventory(flowLogIds: readonly string[] | undefined): Loaded<Datacenter[]> {
  const loaded = useLoaded('inventory', loadInventory, () => unlessIdle(REFRESH_MS))
  const { value, again } = loaded
  const seen = flowLogIds?.toSorted().join()
  const known = value
    ?.flatMap(interfacesOf)
    .flatMap(({ flowLog }) => flowLog?.id ?? [])
    .sort()
    .join()
  // biome-ignore lint/correctness/useExhaustiveDependencies: once for each change of what is seen.
  useEffect(() => {
    if (seen !== undefined && known !== undefined && seen !== known) again()
  }, [seen])
  return loaded
}

export function interfacesOf({ servers, gateways }: Datacenter): Interface[] {
  return [...servers.flatMap(({ nics }) => nics), ...gateways]
}
