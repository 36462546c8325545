// scripts/clients/otpd.mjs against the program, and against one that breaks every rule.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inspect, promisify } from 'node:util'
import * as lib from '../../scripts/clients/otpd.mjs'

const { Otpd, DaemonGone, NoAnswer } = lib
const PROGRAM = process.env.OTPD_BIN ?? 'otpd'
const FAKE = fileURLToPath(new URL('fake-otpd', import.meta.url))
const LIBRARY = new URL('../../scripts/clients/otpd.mjs', import.meta.url).href

function start(t, flags = [], options = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'otpd-'))
  const otpd = new Otpd(['--outbox', join(dir, 'outbox'), ...flags], { program: PROGRAM, ...options })
  t.after(async () => {
    await otpd.close(1000)
    rmSync(dir, { recursive: true })
  })
  return Object.assign(otpd, { outbox: join(dir, 'outbox') })
}
function fake(t, mode, options) {
  const otpd = new Otpd([mode], { program: FAKE, ...options })
  t.after(() => otpd.close(0))
  return otpd
}
const codeIn = (issued) => readFileSync(issued.file, 'utf8').split('\r\n').find((line) => /^\d{6}$/.test(line))
const another = (code) => String((Number(code) + 1) % 1_000_000).padStart(6, '0')
const within = async (ms, work) => {
  const began = performance.now()
  await work
  assert.ok(performance.now() - began < ms)
}

test('the right code once, and wrong ones as values', async (t) => {
  const otpd = start(t)
  const issued = await otpd.issue('ann@example.org', { purpose: 'sign-up', data: { user: 7 } })
  assert.deepEqual([issued.to, issued.delivery, issued.attempts_left], ['ann@example.org', 'sent', 5])
  const code = codeIn(issued)
  const wrong = await otpd.verify(issued.session, another(code), { purpose: 'sign-up' })
  assert.deepEqual([wrong.ok, wrong.error, wrong.attempts_left], [false, 'wrong_code', 4])
  assert.equal((await otpd.verify(issued.session, '1', { purpose: 'sign-up' })).error, 'bad_code')
  assert.equal((await otpd.verify(issued.session, code)).error, 'wrong_purpose')
  const right = await otpd.verify(issued.session, code, { purpose: 'sign-up' })
  assert.deepEqual([right.ok, right.to, right.data], [true, 'ann@example.org', { user: 7 }])
  assert.equal((await otpd.verify(issued.session, code)).error, 'already_used')
  assert.equal((await otpd.verify('nobody', code)).error, 'no_session')
  assert.equal((await otpd.status(issued.session)).state, 'verified')
  assert.ok((await otpd.help('verify')).commands.verify)
})

test('refusals are errors with fields', async (t) => {
  const otpd = start(t, ['--failures-per-day', '1', '--capacity', '2'])
  const { session, file } = await otpd.issue('ann@example.org')
  await assert.rejects(otpd.issue('ann@example.org'), { name: 'RateLimited', error: 'rate_limited', limit: 'cooldown', retry_in_s: 60 })
  await assert.rejects(otpd.resend(session), lib.RateLimited)
  await assert.rejects(otpd.issue('ann'), lib.BadAddress)
  await assert.rejects(otpd.issue('bob@example.org', { ttl_s: 1 }), { name: 'BadField', field: 'ttl_s' })
  for (const bad of ['two\nlines', '\ud800', 7]) await assert.rejects(otpd.issue('bob@example.org', { purpose: bad }), lib.BadField)
  await assert.rejects(otpd.issue('bob@example.org', { data: 'x'.repeat(70_000) }), { name: 'BadField', error: 'line_too_long' })
  await assert.rejects(otpd.issue('bob@example.org', { data: 1n }), TypeError)
  await otpd.verify(session, another(codeIn({ file })))
  await assert.rejects(otpd.issue('ann@example.org'), lib.Locked)
  assert.equal((await otpd.verify(session, '123456')).error, 'attempts_used')
  await assert.rejects(otpd.cancel(session), { name: 'SessionOver', error: 'attempts_used' })
  await otpd.unlock('ann@example.org')
  await otpd.issue('carl@example.org')
  await otpd.issue('dora@example.org')
  await assert.rejects(otpd.issue('eve@example.org'), { name: 'Unavailable', error: 'at_capacity' })
  assert.equal((await otpd.ask({ cmd: 'nonsense' })).error, 'unknown_command')
  const broken = start(t)
  await broken.status()
  renameSync(broken.outbox, broken.outbox + '.away')
  await assert.rejects(broken.issue('ann@example.org'), { name: 'DeliveryFailed', temporary: true })
})

test('special characters come back, and nothing secret is shown', async (t) => {
  const otpd = start(t)
  const data = { q: '"\\/\n\u2028\u00e9😀', a: [null, true, 1.5] }
  const purpose = 'a "purpose" \\ of é😀'
  const issued = await otpd.issue('ann@example.org', { purpose, data, vars: { name: '"Ann" \\ 😀' }, locale: 'de-AT', client: '::1' })
  const verdict = await otpd.verify(issued.session, codeIn(issued), { purpose })
  assert.deepEqual([verdict.data, verdict.purpose], [data, purpose])
  const shown = inspect([issued, verdict, await otpd.resend(issued.session).catch((err) => err)])
  for (const secret of [issued.session, codeIn(issued), 'ann@', '1.5']) assert.ok(!shown.includes(secret))
})

test('a thousand verifications side by side', async (t) => {
  const otpd = start(t)
  const numbers = Array.from({ length: 1000 }, (_, n) => n)
  const issued = await Promise.all(numbers.map((n) => otpd.issue(`user${n}@example.org`, { data: n })))
  const verdicts = await Promise.all(numbers.map((n) => {
    const code = codeIn(issued[n])
    return otpd.verify(issued[n].session, n % 2 ? code : another(code))
  }))
  for (const n of numbers) {
    const { ok, data, to, error, attempts_left } = verdicts[n]
    if (n % 2) assert.deepEqual([ok, data, to], [true, n, `user${n}@example.org`])
    else assert.deepEqual([ok, error, attempts_left], [false, 'wrong_code', 4])
  }
})

test('a killed otpd is noticed at once, by who waits and by the next, and started again if wanted', async (t) => {
  const waiting = fake(t, 'silent')
  const answers = Array.from({ length: 20 }, () => assert.rejects(waiting.status(), /ended by SIGKILL/))
  process.kill(waiting.pid, 'SIGKILL')
  await within(1000, Promise.all(answers))
  await within(1000, assert.rejects(waiting.status(), DaemonGone))
  const otpd = start(t, [], { restart: true })
  const { session } = await otpd.issue('ann@example.org')
  process.kill(otpd.pid, 'SIGKILL')
  await within(1000, assert.rejects(otpd.status(), DaemonGone))
  assert.equal((await otpd.verify(session, '123456')).error, 'no_session')
})

test('waits are bounded', async (t) => {
  for (const mode of ['silent', 'deaf']) {
    const otpd = fake(t, mode, { timeout: 50 })
    const big = { cmd: 'x', x: 'x'.repeat(60_000) } // together more than a pipe holds
    await within(1000, Promise.all([1, 2, 3, 4].map(() => assert.rejects(otpd.ask(big), NoAnswer))))
    await within(1000, assert.rejects(otpd.ask(big, { timeout: 10 }), /within 10 ms/))
    await within(1000, assert.rejects(otpd.status(undefined, { signal: AbortSignal.timeout(10), timeout: Infinity }), { name: 'TimeoutError' }))
    await assert.rejects(otpd.issue('a@example.org', { signal: AbortSignal.abort() }), { name: 'AbortError' })
  }
})

test('a late answer belongs to nobody, and strays and doubles are dropped', async (t) => {
  const pairs = fake(t, 'pairs')
  await assert.rejects(pairs.ask({ cmd: 'one' }, { timeout: 50 }), NoAnswer)
  assert.equal((await pairs.ask({ cmd: 'two' })).id, 2)
  const both = await Promise.all([pairs.status(), pairs.status()])
  assert.deepEqual(both.map(({ id }) => id), [3, 4])
  const strays = fake(t, 'strays')
  for (let id = 1; id <= 20; id++) assert.equal((await strays.status()).id, id)
})

test('what is not otpd is ended', async (t) => {
  const told = { garbage: /broke its output/, mute: /SIGKILL/, fails: /status 7/ }
  for (const [mode, why] of Object.entries(told)) {
    await within(2000, assert.rejects(fake(t, mode).status(), (err) => err instanceof DaemonGone && why.test(err.message)))
  }
  await assert.rejects(new Otpd([], { program: '/nowhere/otpd' }).status(), /could not be started/)
})

test('it is closed properly', async (t) => {
  const otpd = start(t)
  const answers = Array.from({ length: 100 }, () => otpd.verify('x', '123456'))
  await otpd.close()
  for (const answer of await Promise.all(answers)) assert.equal(answer.error, 'no_session')
  await assert.rejects(otpd.status(), /was closed/)
  await otpd.close()
  const stubborn = fake(t, 'stubborn')
  await stubborn.status()
  await within(1000, stubborn.close(20))
})

test('idle, it does not keep a program alive, and ends with it', async () => {
  const script = `import { Otpd } from '${LIBRARY}'
    const otpd = new Otpd(['--outbox', process.argv[1]], { program: process.env.OTPD_BIN ?? 'otpd' })
    console.log((await otpd.status()).ok)`
  const dir = mkdtempSync(join(tmpdir(), 'otpd-'))
  const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, join(dir, 'outbox')], { timeout: 5000 })
  assert.equal((await run).stdout, 'true\n')
  rmSync(dir, { recursive: true })
})
