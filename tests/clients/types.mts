// What the types of otpd.mjs promise; only checked, never run.
import { Otpd, RateLimited, type Issued, type Verdict } from '../../scripts/clients/otpd.mjs'

const otpd = new Otpd(['--outbox', 'outbox'], { restart: true, timeout: 1000 })
const issued: Issued = await otpd.issue('ann@example.org', { purpose: 'sign-up', vars: { name: 'Ann' }, signal: AbortSignal.timeout(10) })
const verdict: Verdict = await otpd.verify(issued.session, '123456', { purpose: 'sign-up' })
if (verdict.ok) {
  const to: string = verdict.to
  // @ts-expect-error the right code has no error
  verdict.error satisfies string
} else if (verdict.error === 'wrong_code') {
  const left: number | undefined = verdict.attempts_left
}
try {
  await otpd.resend(issued.session)
} catch (err) {
  if (err instanceof RateLimited) err.retry_in_s satisfies number | undefined
}
// @ts-expect-error no such option
await otpd.issue('ann@example.org', { purpos: 'sign-up' })
// @ts-expect-error a code is a text
await otpd.verify(issued.session, 123456)
await otpd.close()
