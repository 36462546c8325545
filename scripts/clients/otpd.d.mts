/** The types of otpd.mjs. */

/** How long one command may be waited for. */
export interface Wait {
  signal?: AbortSignal
  /** Milliseconds; otherwise those of the object. */
  timeout?: number
}

/** What otpd said; within one protocol there may be more fields later. */
export interface Reply {
  ok: boolean
  id: number
  [field: string]: unknown
}

/** A code that is under way. Keep its session as you would keep a password. */
export interface Issued extends Reply {
  ok: true
  session: string
  to: string
  /** `uncertain`: it may have arrived. */
  delivery: 'sent' | 'uncertain'
  via: string
  /** The message, if it went to an outbox. */
  file?: string
  expires_in_s: number
  resend_in_s: number
  attempts_left: number
}

/** The right code, and nothing else, is `ok: true`. */
export interface Right extends Reply {
  ok: true
  session: string
  to: string
  purpose?: string
  data?: unknown
}

export interface Wrong extends Reply {
  ok: false
  error: 'wrong_code' | 'bad_code' | 'wrong_purpose' | 'no_session' | 'expired' | 'already_used' | 'attempts_used'
    | 'cancelled' | 'locked'
  message: string
  attempts_left?: number
  retry_in_s?: number
}

export type Verdict = Right | Wrong

export interface IssueOptions extends Wait {
  purpose?: string
  locale?: string
  ttl_s?: number
  /** Any JSON value; comes back with the right code. */
  data?: unknown
  client?: string
  vars?: Record<string, string>
}

export interface Options {
  /** `otpd`, if not given. */
  program?: string
  /** Milliseconds that a command is waited for; 65,000, if not given, which is more than a mail may take by otpd's own. */
  timeout?: number
  /** The next command after a death starts a new otpd, which knows no session of the old one. */
  restart?: boolean
}

export class Otpd {
  constructor(args?: readonly string[], options?: Options)
  /** The process, if there is one. */
  readonly pid: number | undefined
  issue(to: string, options?: IssueOptions): Promise<Issued>
  verify(session: string, code: string, options?: Wait & { purpose?: string }): Promise<Verdict>
  resend(session: string, wait?: Wait): Promise<Issued>
  cancel(session: string, wait?: Wait): Promise<Reply>
  status(session?: string, wait?: Wait): Promise<Reply>
  unlock(to: string, wait?: Wait): Promise<Reply>
  help(about?: string, wait?: Wait): Promise<Reply>
  /** What otpd says to a command, a refusal too. */
  ask(command: { cmd: string; [field: string]: unknown }, wait?: Wait): Promise<Reply>
  /** Lets otpd finish what it was asked, then sends SIGTERM, then SIGKILL, `grace` milliseconds apart. */
  close(grace?: number): Promise<void>
}

export class OtpdError extends Error {}
/** otpd ended or didn't start. Nobody knows if what was asked for has been done. */
export class DaemonGone extends OtpdError {}
export class NoAnswer extends DaemonGone {}

export class Refused extends OtpdError {
  readonly error: string
  readonly retry_in_s?: number
  readonly limit?: 'cooldown' | 'address_hour' | 'address_day' | 'live_sessions' | 'client_hour'
  readonly temporary?: boolean
  readonly smtp?: number
  readonly field?: string
}
export class RateLimited extends Refused {}
export class Locked extends Refused {}
export class DeliveryFailed extends Refused {}
export class BadAddress extends Refused {}
export class BadField extends Refused {}
export class SessionOver extends Refused {}
export class Unavailable extends Refused {}
