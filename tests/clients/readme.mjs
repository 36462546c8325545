// The README's Node example, with the little of Express that it needs; run in an empty directory with otpd on the path.
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const root = new URL('../../', import.meta.url)
const [[, example], more] = [...readFileSync(new URL('README.md', root), 'utf8').matchAll(/```js\n(.*?)\n```/gs)]
assert.equal(more, undefined)

globalThis.routes = new Map()
mkdirSync('node_modules/express', { recursive: true })
writeFileSync('node_modules/express/index.js', `
  module.exports = () => ({ use() {}, listen() {}, post: (path, handler) => routes.set(path, handler) })
  module.exports.json = () => {}`)
copyFileSync(new URL('scripts/clients/otpd.mjs', root), 'otpd.mjs')
writeFileSync('example.mjs', example)
await import(pathToFileURL('example.mjs'))

function post(path, body) {
  return new Promise((resolve, reject) => {
    const res = { code: 200, status(code) { this.code = code; return this }, json(said) { resolve([this.code, said]) } }
    routes.get(path)({ body, ip: '192.0.2.7' }, res).catch(reject)
  })
}

assert.deepEqual(await post('/code', { to: 'ann' }), [400, { error: 'That is not an address.' }])
const [status, { session }] = await post('/code', { to: 'ann@example.org' })
assert.equal(status, 200)
assert.equal((await post('/code', { to: 'ann@example.org' }))[0], 429)
const [file, second] = readdirSync('outbox')
assert.equal(second, undefined)
const code = readFileSync(`outbox/${file}`, 'utf8').split('\r\n').find((line) => /^\d{6}$/.test(line))
assert.equal((await post('/verify', { session, code: '1' }))[0], 403)
assert.deepEqual(await post('/verify', { session, code }), [200, { welcome: 'ann@example.org' }])
assert.equal((await post('/verify', { session, code }))[0], 403)
console.log('as it says')
