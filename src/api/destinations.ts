import { WeirError } from '../model/errors.ts'
import { type Destination, objectName, parseDestination } from '../model/flow-log.ts'
import { contractNumbers } from '../store/accounts.ts'
import { findRegistration } from '../store/buckets.ts'
import type { Db } from '../store/store.ts'
import type { BucketStore, FoundBucket } from './bucket-store.ts'
import { InvalidInputError } from './errors.ts'

/** Reads a flow log's `bucket` value; `at` names the attribute in messages. */
export function destinationOf(value: string, at: string, buckets: BucketStore): Destination {
  const destination = parseDestination(value)
  if ('reason' in destination) throw new InvalidInputError([`[${at}] ${destination.reason}`])
  const fault = destination.prefix === '' ? undefined : buckets.nameFault(objectName(destination.prefix, 1e9))
  if (fault !== undefined) throw new InvalidInputError([`[${at}] ${fault}`])
  return destination
}

/**
 * The bucket must be there, belong to the contract and take our objects. The technical user may be let into
 * the buckets of many tenants, so naming a bucket proves nothing.
 */
export async function assertBucketUsable(
  db: Db,
  buckets: BucketStore,
  contractNumber: number,
  { bucket, name }: { bucket: string; name?: string },
): Promise<void> {
  const found = await buckets.findBucket(bucket, name)
  if (found === undefined) throw new WeirError('WEIR_BUCKET_MISSING', `bucket '${bucket}' does not exist`)
  const owner = await ownerOf(db, bucket, found)
  // Who may not write may often not see the owner either: the grant is the first thing that is missing.
  if (owner === undefined && found.writeFault !== undefined) throw notWritable(bucket, found.writeFault)
  if (owner === undefined) throw unregistered(bucket, found)
  if (owner !== contractNumber) {
    const message = `bucket '${bucket}' does not belong to contract ${contractNumber}`
    throw new WeirError('WEIR_BUCKET_FOREIGN', message)
  }
  if (found.writeFault !== undefined) throw notWritable(bucket, found.writeFault)
}

function notWritable(bucket: string, fault: string): WeirError {
  return new WeirError('WEIR_BUCKET_NOT_WRITABLE', `bucket '${bucket}': ${fault}`)
}

/** An object like those that a flow log would write. Without a prefix they would begin with some UUID. */
export function sampleOf({ bucket, prefix }: Destination): { bucket: string; name: string } {
  return { bucket, name: objectName(prefix === '' ? 'weir-write-check' : prefix, 1_000_000_000) }
}

function unregistered(bucket: string, { ownerFault }: FoundBucket): WeirError {
  const remedy = `the operator can register it (weir bucket register ${bucket} --contract NUMBER)`
  const message =
    ownerFault === undefined
      ? `bucket '${bucket}' is registered for no contract, and its store does not say whose it is: ${remedy}`
      : `the technical user may not see whose bucket '${bucket}' is (${ownerFault}): grant it that, or ${remedy}`
  return new WeirError('WEIR_BUCKET_UNREGISTERED', message)
}

/** The contract of a bucket: the store knows best, else it is as the operator has registered it. */
export async function ownerOf(
  db: Db,
  bucket: string,
  found: FoundBucket | undefined,
): Promise<number | undefined> {
  return found?.contractNumber ?? (await registeredOwner(db, bucket))
}

/** One that was made by hand belongs to the only contract, when there is but one. */
async function registeredOwner(db: Db, bucket: string): Promise<number | undefined> {
  const registration = await findRegistration(db, bucket)
  if (registration !== undefined) return registration.contractNumber
  const contracts = await contractNumbers(db, 2)
  return contracts.length === 1 ? contracts[0] : undefined
}
