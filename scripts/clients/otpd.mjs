/**
 * otpd from Node 18 or newer. Copy this file, and otpd.d.mts beside it for its types; it needs nothing else.
 *
 *     const otpd = new Otpd(['--outbox', 'outbox'])               // the flags of `otpd serve`
 *     const issued = await otpd.issue('ann@example.org', { purpose: 'sign-up' })
 *     const verdict = await otpd.verify(issued.session, code, { purpose: 'sign-up' })
 *     if (verdict.ok) …                                           // a wrong code is a value
 *     await otpd.close()
 *
 * One object serves any number of requests; have one for all of your service, since sessions live in
 * otpd's memory: a restart forgets them, and a worker or cluster process has others. otpd gets your
 * environment and your stderr. While nothing is asked, it doesn't keep your program alive, and it ends with it.
 */
import { spawn } from 'node:child_process'
import { inspect } from 'node:util'

const LONGEST_LINE = 65_536 // bytes with its end; of a longer one otpd doesn't read the id
const LONGEST_TIMEOUT = 2 ** 31 - 1 // ms; setTimeout takes what is longer for 1

/** What promises are rejected with, besides a TypeError of JSON and the reason of an AbortSignal. */
export class OtpdError extends Error {
  constructor(message) {
    super(message)
    this.name = new.target.name
  }
}
/** otpd ended or didn't start. Nobody knows if what was asked for has been done. */
export class DaemonGone extends OtpdError {}
/** otpd gave no answer in time. If one comes later, it is dropped. */
export class NoAnswer extends DaemonGone {}
/** otpd said no. `error` is its word for why, and beside it are the fields that go with that word. */
export class Refused extends OtpdError {
  constructor({ ok, id, message, ...fields }) {
    super(message)
    Object.assign(this, fields)
  }
}
/** Too many mails were asked for; see `limit` and `retry_in_s`. */
export class RateLimited extends Refused {}
/** Too many wrong codes for the address; without `retry_in_s` until `unlock`. */
export class Locked extends Refused {}
/** The mail certainly failed; see `temporary` and `smtp`. */
export class DeliveryFailed extends Refused {}
/** Not an address that mail can be sent to. */
export class BadAddress extends Refused {}
/** A mistake of the program that asks; see `field`. */
export class BadField extends Refused {}
/** The session has ended or never was; `error` says how. */
export class SessionOver extends Refused {}
/** otpd can't, whatever is asked. */
export class Unavailable extends Refused {}

const OVER = ['no_session', 'expired', 'already_used', 'attempts_used', 'cancelled']
const VERDICTS = [...OVER, 'wrong_code', 'bad_code', 'wrong_purpose', 'locked'] // values, and not errors
const KINDS = new Map([
  ['rate_limited', RateLimited], ['locked', Locked], ['delivery_failed', DeliveryFailed], ['bad_address', BadAddress],
  ...OVER.map((word) => [word, SessionOver]),
  ...['bad_field', 'bad_json', 'line_too_long', 'unknown_command'].map((word) => [word, BadField]),
  ...['at_capacity', 'shutting_down', 'internal'].map((word) => [word, Unavailable]),
])

function granted(reply) {
  if (!reply.ok) throw new (KINDS.get(reply.error) ?? Refused)(reply)
  return reply
}

/** A reply that, printed or logged as an object, shows neither session nor address nor data. */
function discreet(reply) {
  const shown = () => `<otpd: ${reply.error ?? 'ok'}>`
  return Object.defineProperty(reply, inspect.custom, { value: shown })
}

/** One otpd process and what it was asked. */
class Daemon {
  gone = '' // why nothing can be asked any more
  #last = 0
  #waiting = new Map() // id → {resolve, reject}
  #lines = [] // [id, line], while its pipe is full
  #full = false
  #rest = ''

  constructor(program, args) {
    // In a session of its own, since the Ctrl-C of a terminal is for us, and otpd ends with us.
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
    this.child = child
    this.ended = new Promise((resolve) => {
      child.once('error', (err) => resolve(`otpd could not be started: ${err.code}`))
      // What it still said comes between these two; but its pipe might be held by others.
      child.once('exit', () => setTimeout(() => child.stdout.destroy(), 500).unref())
      child.once('close', (status, signal) => resolve(signal ? `otpd was ended by ${signal}` : `otpd ended with status ${status}`))
    })
    this.ended.then((why) => this.#fail(why))
    child.stdin.on('error', () => {}) // The other events say why.
    child.stdin.on('drain', () => { this.#full = false; this.#write() })
    child.stdout.setEncoding('utf8').on('data', (text) => this.#read(text))
    child.stdout.on('end', () => setTimeout(() => child.kill('SIGKILL'), 500).unref())
    for (const part of [child, child.stdin, child.stdout]) part.unref() // Only timers keep the program alive.
  }

  ask(command, timeout, signal) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const id = ++this.#last
      const line = JSON.stringify({ ...command, id }) + '\n'
      if (Buffer.byteLength(line) > LONGEST_LINE) granted({ error: 'line_too_long', message: 'over 65,536 bytes' })
      if (this.gone) throw new DaemonGone(this.gone)
      const done = (settle) => (value) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', aborted)
        this.#waiting.delete(id)
        settle(value)
      }
      const no = done(reject)
      const aborted = () => no(signal.reason)
      const late = () => no(new NoAnswer(`otpd gave no answer within ${timeout} ms`))
      const timer = setTimeout(late, Math.min(timeout, LONGEST_TIMEOUT))
      signal?.addEventListener('abort', aborted)
      this.#waiting.set(id, { resolve: done(resolve), reject: no })
      this.#lines.push([id, line])
      this.#write()
    })
  }

  async close(grace) {
    this.gone ||= 'otpd was closed'
    this.#write(true)
    this.child.stdin.end()
    for (const part of [this.child, this.child.stdout]) part.ref()
    const timers = ['SIGTERM', 'SIGKILL'].map((signal, n) => setTimeout(() => this.child.kill(signal), grace * (n + 1)))
    await this.ended
    timers.forEach(clearTimeout)
  }

  #write(all = false) {
    while ((all || !this.#full) && this.#lines.length > 0) {
      const [id, line] = this.#lines.shift()
      if (this.#waiting.has(id)) this.#full = !this.child.stdin.write(line) // What was given up is not even asked.
    }
  }

  #read(text) {
    const lines = (this.#rest + text).split('\n') // and not at U+2028, as readline does
    this.#rest = lines.pop()
    for (const line of lines) {
      try {
        const reply = JSON.parse(line)
        if (typeof reply.ok !== 'boolean') throw new TypeError('no reply')
        this.#waiting.get(reply.id)?.resolve(discreet(reply))
      } catch {
        this.#fail('otpd broke its output and was killed')
        this.child.kill('SIGKILL')
      }
    }
  }

  #fail(why) {
    this.gone ||= why
    for (const { reject } of this.#waiting.values()) reject(new DaemonGone(why))
  }
}

export class Otpd {
  #start
  #daemon
  #timeout
  #restart

  constructor(args = [], { program = 'otpd', timeout = 65_000, restart = false } = {}) {
    this.#start = () => new Daemon(program, ['serve', ...args])
    this.#daemon = this.#start()
    this.#timeout = timeout
    this.#restart = restart
  }

  get pid() { return this.#daemon.child.pid }
  /** What otpd says to a command, a refusal too: `ask({ cmd: 'cancel', session })`. */
  async ask(command, { signal, timeout = this.#timeout } = {}) {
    if (this.#daemon.gone && this.#restart) this.#daemon = this.#start()
    return this.#daemon.ask(command, timeout, signal)
  }
  issue(to, { signal, timeout, ...options } = {}) { return this.#granted({ cmd: 'issue', to, ...options }, { signal, timeout }) }
  async verify(session, code, { purpose, ...wait } = {}) {
    const reply = await this.ask({ cmd: 'verify', session, code, purpose }, wait)
    return VERDICTS.includes(reply.error) ? reply : granted(reply)
  }
  resend(session, wait) { return this.#granted({ cmd: 'resend', session }, wait) }
  cancel(session, wait) { return this.#granted({ cmd: 'cancel', session }, wait) }
  status(session, wait) { return this.#granted({ cmd: 'status', session }, wait) }
  unlock(to, wait) { return this.#granted({ cmd: 'unlock', to }, wait) }
  help(about, wait) { return this.#granted({ cmd: 'help', about }, wait) }
  async #granted(command, wait) { return granted(await this.ask(command, wait)) }

  /** Lets otpd finish what it was asked, then sends SIGTERM, then SIGKILL, `grace` ms apart. */
  async close(grace = 6_000) {
    this.#restart = false
    await this.#daemon.close(grace)
  }
}
