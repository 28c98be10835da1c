import { Component, type ReactNode } from 'react'
import { Button } from './button.tsx'

interface Props {
  title: string
  children: ReactNode
}

/** Instead of a page whose script does not come, or that fails: an empty window would say nothing. */
export class Boundary extends Component<Props, { failed: boolean }> {
  override state = { failed: false }

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true }
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children
    return (
      <>
        <h1>{this.props.title}</h1>
        <div className="state state-bad" role="alert">
          <p className="state-title">This page could not be loaded</p>
          <p>The server does not answer, or has been updated since the console was opened.</p>
          <Button onClick={() => location.reload()}>Load it anew</Button>
        </div>
      </>
    )
  }
}
