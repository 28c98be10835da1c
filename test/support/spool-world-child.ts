import { random } from '../../src/stdx/prng.ts'
import { CrashingFiles } from './crashing-files.ts'
import { SpoolWorld } from './spool-world.ts'

// One life of a SpoolWorld that ends with SIGKILL after `stepsMax` steps on the disk.
const { stepsMax, ...options } = JSON.parse(process.argv[2]!) as {
  stepsMax: number
  directory: string
  windows: number
  bytesMax: number
  seed: number
}
const files = new CrashingFiles(stepsMax, random(options.seed), () => process.kill(process.pid, 'SIGKILL'))
await new SpoolWorld(options).live(files)
