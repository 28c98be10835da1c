import { execFileSync } from 'node:child_process'
import path from 'node:path'

export interface Certificate {
  certFile: string
  keyFile: string
}

/** A certificate for 127.0.0.1 that signs itself, so that nobody trusts it unasked. */
export function makeCertificate(directory: string, name = 'tls'): Certificate {
  const [certFile, keyFile] = ['cert', 'key'].map((it) => path.join(directory, `${name}-${it}.pem`))
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile!]
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-out', certFile!], { stdio: 'ignore' })
  return { certFile: certFile!, keyFile: keyFile! }
}
