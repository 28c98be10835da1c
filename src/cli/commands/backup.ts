import { existsSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { backupSqlite } from '../../store/sqlite-backup.ts'
import { type Command, ExitCode } from '../command.ts'
import { dataDirectory } from '../data-dir.ts'

export const backup: Command = {
  usage: 'weir backup FILE [--data-dir DIR] [--force] [--json]',
  help: `  --data-dir DIR   where the database is (WEIR_DATA_DIR; default /var/lib/weir as root)
  --force          replace FILE if it is there
  --json           print what was written as JSON

The copy is a SQLite database of one moment. To restore it, put it in the place of DIR/weir.db while nothing runs.
Objects in embedded buckets are plain files: copy DIR/buckets as well. PostgreSQL has its own tools.`,
  async run(args, context) {
    const options = {
      'data-dir': { type: 'string' },
      force: { type: 'boolean', default: false },
      json: { type: 'boolean' },
    } as const
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
    const [target] = positionals
    if (target === undefined || positionals.length > 1)
      throw new WeirError('WEIR_USAGE', 'backup takes one file')
    if (existsSync(target) && !values.force) {
      throw new WeirError('WEIR_USAGE', `${target} is there already; --force replaces it`)
    }
    const source = path.join(dataDirectory(values['data-dir'], context.env), 'weir.db')
    const pages = await backupSqlite(source, target)
    if (values.json) context.stdout.write(`${JSON.stringify({ file: target, pages })}\n`)
    else context.stderr.write(`${pages} pages copied to ${target}\n`)
    return ExitCode.ok
  },
}
