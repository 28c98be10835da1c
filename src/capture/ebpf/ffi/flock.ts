import koffi from 'koffi'
import { WeirError } from '../../../model/errors.ts'

const flock = koffi.load(null).func('int flock(int fd, int operation)')

const LOCK_EX = 2
const LOCK_NB = 4
const { EAGAIN } = koffi.os.errno

/** The kernel holds the lock until the file is closed, however its process ends, and sees all containers. False: another has it. */
export function tryLock(fd: number): boolean {
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true
  const errno = koffi.errno()
  if (errno === EAGAIN) return false
  throw new WeirError('WEIR_NATIVE_CALL', `the file system does not lock files (errno ${errno})`)
}
