import type { CommandContext } from './command.ts'

const BAR_WIDTH = 30

/** A line on stderr that says how far it is; nothing where stderr is no terminal. Its end wipes it away. */
export class ProgressLine implements Disposable {
  readonly #context: Pick<CommandContext, 'stderr' | 'stderrIsTerminal'>
  #shown = false

  constructor(context: Pick<CommandContext, 'stderr' | 'stderrIsTerminal'>) {
    this.#context = context
  }

  count(what: string, done: number, total: number): void {
    const full = Math.round(Math.min(1, Math.max(0, done / total)) * BAR_WIDTH)
    const bar = `[${'█'.repeat(full)}${'·'.repeat(BAR_WIDTH - full)}]`
    this.write(`${what}  ${bar}  ${done} of ${total}`)
  }

  write(text: string): void {
    if (!this.#context.stderrIsTerminal) return
    this.#shown = true
    this.#context.stderr.write(`\r\u001b[K${text}`)
  }

  [Symbol.dispose](): void {
    if (this.#shown) this.#context.stderr.write('\r\u001b[K')
  }
}
