import { type FormEvent, useId, useState } from 'react'
import {
  ACTIONS,
  createFlowLog,
  DIRECTIONS,
  deleteFlowLog,
  type FlowLogProperties,
  type Interface,
} from '../api/cloud.ts'
import { loadBuckets } from '../api/delivery.ts'
import { useLoaded } from '../state/load.ts'
import { useSession } from '../state/session.ts'
import { durationText } from '../text/times.ts'
import { Button } from '../ui/button.tsx'
import { Select } from '../ui/choice.tsx'
import { Dialog } from '../ui/dialog.tsx'
import { FlowLogCode } from './flow-log-code.tsx'

/** The four properties, none of which but the name can be changed later: so it says. */
export function EnableDialog({ of, onClose }: { of: Interface; onClose(): void }) {
  const buckets = useLoaded('buckets', loadBuckets)
  const [properties, setProperties] = useState<Omit<FlowLogProperties, 'bucket'> & { bucket?: string }>({
    name: of.name,
    action: 'ALL',
    direction: 'BIDIRECTIONAL',
  })
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState('')
  const [first] = buckets.value ?? []
  // Until somebody types: the first bucket, and the interface's name as prefix.
  const bucket = properties.bucket ?? (first === undefined ? '' : `${first}/${prefixFor(of.name)}`)
  const wanted = { ...properties, bucket }
  const change = (changes: Partial<FlowLogProperties>) => setProperties({ ...properties, ...changes })
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setFault('')
    try {
      await createFlowLog(of, wanted)
      onClose()
    } catch (error) {
      setFault(error instanceof Error ? error.message : String(error))
      setBusy(false)
    }
  }
  return (
    <Dialog title={`Enable a flow log on ${of.name}`} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <TextField label="Name" value={properties.name} required onChange={(name) => change({ name })} />
        <TextField
          label="Bucket, or bucket/prefix"
          value={bucket}
          required
          placeholder="bucket/prefix"
          options={buckets.value ?? []}
          hint="An existing bucket of your contract. The prefix is what the objects' names begin with."
          onChange={(value) => change({ bucket: value })}
        />
        <div className="form-pair">
          <Select
            className="field"
            label="Record"
            value={properties.action}
            options={ACTIONS.map((value) => ({ value, label: ACTION_WORDS[value] }))}
            onChange={(action) => change({ action })}
          />
          <Select
            className="field"
            label="Direction, seen from the interface"
            value={properties.direction}
            options={DIRECTIONS.map((value) => ({ value, label: DIRECTION_WORDS[value] }))}
            onChange={(direction) => change({ direction })}
          />
        </div>
        <WhatComes />
        <p className="form-fault" role="alert">
          {fault}
        </p>
        <details className="disclosure">
          <summary>The same as weir, Terraform, SDK or curl</summary>
          <FlowLogCode of={of} properties={wanted} />
        </details>
        <div className="dialog-do">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="strong" type="submit" disabled={busy}>
            {busy ? 'Enabling…' : 'Enable'}
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

/** Without what the server takes in names, but not in prefixes. */
function prefixFor(name: string): string {
  return name.replaceAll(/\/|\.{2,}|%2f/gi, '-')
}

function WhatComes() {
  const { windowSizeS } = useSession()
  return (
    <p className="note">
      Every {durationText(windowSizeS)} one object with that window's flows goes into the bucket, if there
      were any. Later only the name can be changed.
    </p>
  )
}

const ACTION_WORDS = { ALL: 'Accepted and rejected', ACCEPTED: 'Accepted only', REJECTED: 'Rejected only' }
const DIRECTION_WORDS = { BIDIRECTIONAL: 'Both', INGRESS: 'Ingress only', EGRESS: 'Egress only' }

/** With the words of what stays. */
export function DisableDialog({ of, onClose }: { of: Interface; onClose(): void }) {
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState('')
  const { flowLog } = of
  if (flowLog === undefined) return null
  const disable = async () => {
    setBusy(true)
    setFault('')
    try {
      await deleteFlowLog(of, flowLog)
      onClose()
    } catch (error) {
      setFault(error instanceof Error ? error.message : String(error))
      setBusy(false)
    }
  }
  return (
    <Dialog title={`Disable the flow log on ${of.name}?`} onClose={onClose}>
      <ul className="facts">
        <li>Capturing stops at once.</li>
        <li>What was captured until then is still delivered, when its window closes.</li>
        <li>
          All objects stay in <code>{flowLog.properties.bucket}</code>; they are yours to keep or delete.
        </li>
        <li>To enable it again is to create a new flow log. Flows in between are not recorded.</li>
      </ul>
      <p className="form-fault" role="alert">
        {fault}
      </p>
      <div className="dialog-do">
        <Button onClick={onClose}>Keep it</Button>
        <Button look="danger" disabled={busy} onClick={disable}>
          {busy ? 'Disabling…' : 'Disable'}
        </Button>
      </div>
    </Dialog>
  )
}

interface TextProps {
  label: string
  value: string
  required?: boolean
  placeholder?: string
  options?: string[]
  hint?: string
  onChange(value: string): void
}

function TextField({ label, value, required = false, placeholder, options, hint, onChange }: TextProps) {
  const id = useId()
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        value={value}
        required={required}
        autoComplete="off"
        spellCheck={false}
        {...(placeholder === undefined ? {} : { placeholder })}
        {...(options === undefined ? {} : { list: `${id}-options` })}
        {...(hint === undefined ? {} : { 'aria-describedby': `${id}-hint` })}
        onChange={(event) => onChange(event.target.value)}
      />
      {options !== undefined && (
        <datalist id={`${id}-options`}>
          {options.map((it) => (
            <option key={it} value={it} />
          ))}
        </datalist>
      )}
      {hint !== undefined && (
        <p id={`${id}-hint`} className="muted small">
          {hint}
        </p>
      )}
    </div>
  )
}
