// What the page's server refuses, and what it never tells. No browser: a browser would not send these.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { codeIn, otherThan, start } from "./harness.mjs";

let web;
before(async () => { web = await start(["--client-per-hour", "1000"]); });
after(() => web.stop());

/** A request with just these headers. */
function ask(method, path, { headers = {}, body, server = web } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: "127.0.0.1", port: server.port, method, path, headers: { Host: `127.0.0.1:${server.port}`, ...headers } },
      (response) => {
        let text = "";
        response.on("data", (data) => { text += data; });
        response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text }));
      });
    request.on("error", reject);
    request.end(body);
  });
}

function post(path, body, { headers = {}, cookie, server = web } = {}) {
  const all = { Origin: server.origin, "Content-Type": "application/json", ...(cookie && { Cookie: cookie }), ...headers };
  for (const name of Object.keys(all)) if (all[name] === null) delete all[name];
  return ask("POST", path, { headers: all, body: typeof body === "string" ? body : JSON.stringify(body), server });
}

const cookieOf = (reply) => reply.headers["set-cookie"]?.[0].split(";")[0];
const get = async (path, cookie) => JSON.parse((await ask("GET", path, { headers: { Cookie: cookie ?? "" } })).text);

let addresses = 0;
/** Another visitor with a code under way. */
async function visitor() {
  const to = `visitor${++addresses}@example.org`;
  const reply = await post("/issue", { to, locale: "en" });
  const cookie = cookieOf(reply);
  const mail = await get("/mail", cookie);
  return { to, cookie, reply, code: codeIn(mail.text) };
}

test("every answer has the strict headers, refusals too", async () => {
  for (const [method, path, status] of [["GET", "/", 200], ["GET", "/page.js", 200], ["GET", "/state", 200],
    ["GET", "/nowhere", 404], ["POST", "/verify", 403], ["PUT", "/", 501], ["GET", "/../server.py", 404],
    ["GET", "/%2e%2e/server.py", 404], ["GET", "/?lang=de", 404]]) {
    const reply = await ask(method, path);
    assert.equal(reply.status, status, path);
    assert.match(reply.headers["content-security-policy"], /^default-src 'none'; script-src 'self'; style-src 'self';/);
    assert.doesNotMatch(reply.headers["content-security-policy"], /unsafe|\*|http/);
    assert.match(reply.headers["content-security-policy"], /frame-ancestors 'none'/);
    assert.equal(reply.headers["x-content-type-options"], "nosniff");
    assert.equal(reply.headers["referrer-policy"], "no-referrer");
    assert.equal(reply.headers["cache-control"], "no-store");
    assert.equal(reply.headers["cross-origin-opener-policy"], "same-origin");
    assert.equal(reply.headers["set-cookie"], undefined);
    assert.doesNotMatch(reply.headers.server, /Python/);
  }
});

test("the message can do nothing but be read", async () => {
  const { cookie, code } = await visitor();
  const reply = await ask("GET", "/mail/html", { headers: { Cookie: cookie } });
  assert.ok(reply.text.includes(code));
  const policy = reply.headers["content-security-policy"];
  assert.match(policy, /^default-src 'none'; style-src 'unsafe-inline'; form-action 'none'/);
  assert.match(policy, /frame-ancestors 'self'; sandbox$/);
});

test("no script or style stands in the page itself", async () => {
  const { text } = await ask("GET", "/");
  assert.doesNotMatch(text, /<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:/i);
  assert.doesNotMatch(text, /https?:/);
});

test("another name that leads here is refused", async () => {
  for (const host of ["evil.example", `evil.example:${web.port}`, "127.0.0.1", `127.0.0.1:${web.port}.evil.example`, `[::1]:${web.port}`]) {
    assert.equal((await ask("GET", "/", { headers: { Host: host } })).status, 421, host);
    assert.equal((await post("/leave", {}, { headers: { Host: host } })).status, 421, host);
  }
  assert.equal((await ask("GET", "/", { headers: { Host: `localhost:${web.port}` } })).status, 200);
});

test("what another origin sends has no effect", async () => {
  const { cookie, code } = await visitor();
  for (const headers of [
    { Origin: "https://evil.example" },
    { Origin: "null" },
    { Origin: null },
    { Origin: `http://localhost:${web.port}` }, // ours, but not the one that was asked
    { Origin: `http://127.0.0.1:${web.port + 1}` },
    { "Sec-Fetch-Site": "cross-site" },
    { "Sec-Fetch-Site": "same-site" },
  ]) {
    assert.equal((await post("/verify", { code }, { cookie, headers })).status, 403, JSON.stringify(headers));
  }
  for (const type of [null, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
    assert.equal((await post("/verify", { code }, { cookie, headers: { "Content-Type": type } })).status, 415);
  }
  assert.equal((await ask("OPTIONS", "/verify")).headers["access-control-allow-origin"], undefined);
  assert.equal((await get("/state", cookie)).visit.state, "pending");
});

test("another server of this machine reads nothing", async () => {
  const { cookie } = await visitor();
  for (const site of ["cross-site", "same-site"]) {
    for (const path of ["/state", "/mail", "/mail/html", "/page.js"]) {
      const reply = await ask("GET", path, { headers: { Cookie: cookie, "Sec-Fetch-Site": site } });
      assert.equal(reply.status, 403);
    }
  }
});

test("a body is short, whole, and just what was expected", async () => {
  const long = JSON.stringify({ to: "a".repeat(5000), locale: "en" });
  assert.equal((await post("/issue", long)).status, 413);
  assert.equal((await post("/issue", "", { headers: { "Content-Length": "99999999999999999999" } })).status, 413);
  assert.equal((await post("/issue", "", { headers: { "Content-Length": "-1" } }).catch(() => ({ status: 400 }))).status >= 400, true);
  assert.equal((await post("/issue", "{}", { headers: { "Transfer-Encoding": "chunked" } })).status, 411);
  for (const body of ["", "x", "[]", "null", "{}", '{"to":"a@example.org"}', '{"to":1,"locale":"en"}',
    '{"to":"a@example.org","locale":"en","purpose":"x"}', '{"to":"\\ud800@example.org","locale":"en"}',
    "[".repeat(4000), '{"to":null,"locale":"en"}']) {
    assert.equal((await post("/issue", body)).status, 400, body.slice(0, 60));
  }
});

test("what a person types reaches otpd as a value and no further", async () => {
  for (const to of ["", "no address", 'a@example.org","cmd":"unlock', "a@example.org\n{}", "é@example.org", "\0"]) {
    const answer = JSON.parse((await post("/issue", { to, locale: "en" })).text);
    assert.ok(["bad_address", "bad_field"].includes(answer.error), JSON.stringify(to));
  }
  assert.equal((await get("/state")).visit, null);
});

test("a GET has no effects", async () => {
  const { cookie, code } = await visitor();
  for (const path of ["/issue", "/verify", "/resend", "/leave", `/verify?code=${code}`]) {
    assert.equal((await ask("GET", path, { headers: { Cookie: cookie } })).status, 404);
  }
  assert.equal((await get("/state", cookie)).visit.state, "pending");
});

test("the cookie is out of reach of scripts and other sites, and changes with what it is good for", async () => {
  const { cookie, reply, code } = await visitor();
  assert.match(reply.headers["set-cookie"][0], /^otpd_visit=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/$/);
  const granted = await post("/verify", { code }, { cookie });
  const after = cookieOf(granted);
  assert.notEqual(after, cookie);
  assert.equal((await get("/state", cookie)).visit, null);
  assert.equal((await get("/state", after)).visit.state, "verified");
});

test("another visitor sees nothing and can do nothing", async () => {
  const { code, cookie } = await visitor();
  for (const other of [undefined, "otpd_visit=", "otpd_visit=x", `otpd_visit=${"A".repeat(43)}`, "otpd_visit=\"; =;;"]) {
    assert.equal((await get("/state", other)).visit, null);
    assert.equal(await get("/mail", other), null);
    assert.equal((await ask("GET", "/mail/html", { headers: { Cookie: other ?? "" } })).text, "");
    assert.equal(JSON.parse((await post("/verify", { code }, { cookie: other })).text).error, "no_session");
    assert.equal(JSON.parse((await post("/resend", {}, { cookie: other })).text).error, "no_session");
  }
  const second = await visitor();
  assert.equal(JSON.parse((await post("/verify", { code: otherThan(second.code) }, { cookie: second.cookie })).text).attempts_left, 4);
  assert.equal((await get("/state", cookie)).visit.attempts_left, 5);
});

test("the browser is never told the session, the path of the message or the code", async () => {
  const { reply, cookie, code } = await visitor();
  for (const text of [reply.text, JSON.stringify(await get("/state", cookie)),
    (await post("/verify", { code: otherThan(code) }, { cookie })).text, (await post("/resend", {}, { cookie })).text,
    (await post("/verify", { code }, { cookie })).text]) {
    assert.doesNotMatch(text, /"session"|"file"|"id"|\.eml/);
    assert.ok(!text.includes(code));
  }
});

test("many visitors at once get their own answers", async () => {
  const visitors = await Promise.all(Array.from({ length: 40 }, () => visitor()));
  assert.equal(new Set(visitors.map((one) => one.cookie)).size, 40);
  const granted = await Promise.all(visitors.map(async ({ cookie, code, to }) => {
    const answer = JSON.parse((await post("/verify", { code }, { cookie })).text);
    return answer.ok && answer.to === to;
  }));
  assert.ok(granted.every(Boolean));
});

test("a visit is forgotten when otpd has forgotten its session, and a new code ends the old one", async () => {
  const first = await visitor();
  await web.advance(60);
  const again = await post("/issue", { to: first.to, locale: "en" }, { cookie: first.cookie });
  assert.equal((await get("/state", first.cookie)).visit, null);
  assert.equal((await get("/state", cookieOf(again))).visit.state, "pending");
});

test("it listens on loopback alone", async () => {
  const addresses = Object.values(os.networkInterfaces()).flat()
    .filter((one) => !one.internal && one.family === "IPv4").map((one) => one.address);
  for (const address of addresses) {
    const connected = await new Promise((resolve) => {
      const socket = net.connect(web.port, address, () => { socket.destroy(); resolve(true); });
      socket.on("error", () => resolve(false));
    });
    assert.equal(connected, false);
  }
});

test("it ends cleanly by Ctrl-C and by SIGTERM, and leaves nothing behind", async (t) => {
  const directory = mkdtempSync(path.join(os.tmpdir(), "otpd-web-tmp-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    const server = await start([], { clock: false, env: { TMPDIR: directory } });
    await post("/issue", { to: "ann@example.org", locale: "en" }, { server });
    assert.equal(readdirSync(directory).length, 1);
    assert.equal(await server.stop(signal), 0);
    assert.equal(server.stderr(), "");
    assert.deepEqual(readdirSync(directory), []);
  }
});

test("flags are otpd's, and what is wrong with them is said", async (t) => {
  await assert.rejects(start(["--digits", "99"], { clock: false }), /--digits/);
  await assert.rejects(start(["--port", "99999"], { clock: false }), /--port/);
  await assert.rejects(start(["--port", String(web.port)], { clock: false }), /in use/);
  const directory = mkdtempSync(path.join(os.tmpdir(), "otpd-web-tmp-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const outbox = path.join(directory, "mine");
  const server = await start(["--outbox", outbox, "--digits=8"], { clock: false });
  await post("/issue", { to: "ann@example.org", locale: "en" }, { server });
  await server.stop();
  assert.ok(existsSync(outbox) && readdirSync(outbox).length === 1);
});
