import type { Command } from './command.ts'

/** docs/reference/cli.md: the same words as `weir COMMAND --help`. */
export function renderReference(
  commands: readonly (readonly [string, Command & { summary: string }])[],
): string {
  const sections = commands.map(([name, { summary, usage, help }]) => {
    const block = help === undefined ? usage : `${usage}\n\n${help}`
    return `## weir ${name}\n\n${summary}.\n\n\`\`\`\n${block}\n\`\`\`\n`
  })
  return `${HEAD}\n${sections.join('\n')}`
}

const HEAD = `# Commands

Results go to stdout, talk to stderr. Everything that prints has \`--json\`. Exit codes: 0 done; 1 failed; 2 the arguments are
wrong; 3 this machine lacks what the command needs.

This page is made of the commands' own help: \`WEIR_WRITE_DOCS=1 npm test src/cli/reference.test.ts\` writes it anew.
`
