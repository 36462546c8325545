// better-auth's e-mail OTP plugin over the same pipe: its own API is called, without HTTP around it.
// Run with `memory` the codes are in its memory adapter; with `map` in a Map, as a secondary storage.
// `fill` is for the benchmark and sends no mail.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { emailOTP } from 'better-auth/plugins'

const [storage, outbox, letterFile] = process.argv.slice(2)
const letter = letterFile ? readFileSync(letterFile, 'utf8') : ''
const type = 'email-verification'
const day = 86_400
const db = { user: [], session: [], account: [], verification: [] }
const map = new Map()
const secondaryStorage = {
  get: async key => map.get(key) ?? null,
  set: async (key, value) => void map.set(key, value),
  delete: async key => void map.delete(key),
  getAndDelete: async key => {
    const value = map.get(key) ?? null
    map.delete(key)
    return value
  },
}

async function sendVerificationOTP({ email, otp }) {
  if (!outbox) return
  const file = `${outbox}/${email}.eml`
  writeFileSync(`${file}.tmp`, letter.replace('@TO@', email).replace('@CODE@', otp))
  renameSync(`${file}.tmp`, file)
}

const auth = betterAuth({
  baseURL: 'http://localhost',
  secret: 'a-Secret-0f-a-Benchmark-and-0f-nothing-else',
  database: memoryAdapter(db),
  ...(storage === 'map' ? { secondaryStorage } : {}),
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { disabled: true },
  plugins: [emailOTP({ allowedAttempts: 5, expiresIn: day, sendVerificationOTP })],
})

function user(n, email) {
  const at = new Date()
  db.user.push({ id: `u${n}`, email, name: '', emailVerified: false, createdAt: at, updatedAt: at })
}

// As its own `issue` leaves them, past its API, which looks through all users each time.
function fill(count) {
  const createdAt = new Date()
  const expiresAt = new Date(Date.now() + day * 1e3)
  for (let n = 0; n < count; n++) {
    const email = `u${String(n).padStart(7, '0')}@example.org`
    const identifier = `${type}-otp-${email}`
    const value = `${String((n * 7919) % 1e6).padStart(6, '0')}:0`
    const row = { createdAt, updatedAt: createdAt, value, identifier, expiresAt }
    user(n, email)
    if (storage === 'map') map.set(`verification:${identifier}`, JSON.stringify(row))
    else db.verification.push({ id: `v${n}`, ...row })
  }
}

async function answer(asked) {
  if (asked.cmd === 'fill') fill(asked.count)
  else if (asked.cmd === 'issue') {
    user(db.user.length, asked.to)
    await auth.api.sendVerificationOTP({ body: { email: asked.to, type } })
  } else {
    await auth.api.verifyEmailOTP({ body: { email: asked.session, otp: asked.code } })
  }
  return { ok: true }
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply
  try {
    reply = await answer(JSON.parse(line))
  } catch (error) {
    reply = { ok: false, error: error.body?.code ?? String(error) }
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}
