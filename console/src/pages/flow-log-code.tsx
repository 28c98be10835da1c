import { useState } from 'react'
import type { FlowLogProperties, Interface } from '../api/cloud.ts'
import { Choice } from '../ui/choice.tsx'
import { Snippet } from '../ui/copy.tsx'
import { Dialog } from '../ui/dialog.tsx'
import { type CodeKind, codeFor, codeKinds } from './flow-log-snippets.ts'

export function CodeDialog({ of, onClose }: { of: Interface; onClose(): void }) {
  if (of.flowLog === undefined) return null
  return (
    <Dialog title={`The flow log on ${of.name} as code`} onClose={onClose}>
      <FlowLogCode of={of} properties={of.flowLog.properties} />
    </Dialog>
  )
}

/** The call that makes a flow log like this one, for whoever automates it. */
export function FlowLogCode({ of, properties }: { of: Interface; properties: FlowLogProperties }) {
  const kinds = codeKinds(of.kind)
  const [kind, setKind] = useState<CodeKind>(kinds[0]!.value)
  return (
    <div className="code">
      <Choice<CodeKind>
        label="Language"
        value={kind}
        options={kinds}
        onChange={(value: CodeKind) => setKind(value)}
      />
      <Snippet
        label={kinds.find(({ value }) => value === kind)!.label}
        text={codeFor(kind, of, properties, location.origin)}
      />
    </div>
  )
}
