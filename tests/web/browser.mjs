// A Chromium in front of a `scripts/web`: what it asked for and complained about is held against it,
// and each state is looked at, by axe-core and, as pictures under target/web-shots, by whoever wants to.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { start, target } from "./harness.mjs";

const require = createRequire(path.join(target, "web-tests/"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const shots = path.join(target, "web-shots");
mkdirSync(shots, { recursive: true });

const SEEN_BY_AXE = ["desk light", "phone dark"];
const SIZES = { phone: { width: 390, height: 800 }, desk: { width: 1200, height: 800 } };

let browser;
export async function open() {
  // A fresh profile in a temporary directory; nothing that a browser does by itself on the network.
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
      "--disable-background-networking", "--disable-component-update",
      // The message's frame in the page's own process, so that a picture does not come too early.
      "--disable-features=IsolateSandboxedIframes"],
  });
}
export const close = () => browser.close();

/** A page in front of a server of its own. At the test's end both are ended, and what was seen is judged. */
export async function visit(t, flags = [], { clock = true, forgive = /^$/, env, ...options } = {}) {
  const profile = { locale: "en-GB", viewport: SIZES.desk, reducedMotion: "reduce", ...options };
  const [web, context] = await Promise.all([start(flags, { clock, env }), browser.newContext(profile)]);
  const page = await context.newPage();
  page.setDefaultTimeout(5000);
  const complaints = [];
  const asked = [];
  const codes = [];
  // The clock of Playwright knocks at every frame, and that of the message lets no script in.
  const tool = clock ? /^Blocked script execution in '(about:blank|http:\S+\/mail\/html)'/ : /^$/;
  page.on("console", (message) => {
    const text = message.text();
    if (["error", "warning"].includes(message.type()) && !forgive.test(text) && !tool.test(text)) complaints.push(text);
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  context.on("request", (request) => asked.push(request.url()));
  if (clock) await page.clock.install();

  t.after(async () => {
    await context.close();
    const status = await web.stop();
    if (!t.signal.aborted) assert.equal(status, 0);
    assert.deepEqual(complaints, [], "the console");
    for (const url of asked) {
      assert.ok(url.startsWith(web.url), `left loopback: ${url}`);
      for (const code of codes) assert.ok(!url.includes(code), "a code in a URL");
    }
  });
  await page.goto(web.url);
  await page.locator("#address").waitFor();

  return {
    web, page, context,
    /** Asks for a code, and reads it in the message beside the form. */
    async code(to = "ann@example.org") {
      await page.locator("#address").fill(to);
      await page.keyboard.press("Enter");
      await page.locator("#view-code").waitFor();
      return this.read();
    },
    async read() {
      await page.locator("#letter").waitFor();
      const code = await shown(page);
      codes.push(code);
      return code;
    },
    type: (code) => page.keyboard.type(code),
    /** Both clocks, the browser's and otpd's. */
    async pass(seconds) {
      await web.advance(seconds);
      await page.clock.fastForward(seconds * 1000);
    },
    notice: (text) => page.locator(".notice:visible", { hasText: text }).waitFor(),
    heading: (text) => page.locator("h1:visible", { hasText: text }).waitFor(),
    boxes: () => page.locator("#boxes input"),
    async value() {
      return (await this.boxes().evaluateAll((boxes) => boxes.map((box) => box.value || "_"))).join("");
    },
    focused: () => page.evaluate(() =>
      [...document.querySelectorAll("#boxes input")].indexOf(document.activeElement)),
    look: (name) => look(page, name),
    shot: (name) => shot(page, name),
  };
}

/** The code in the message beside the form. */
export async function shown(page) {
  const line = page.frameLocator("#letter-html").locator("p", { hasText: /^\s*\d{6,10}\s*$/ });
  return (await line.innerText()).trim();
}

async function shot(page, name) {
  // A frame that nobody can see is not painted.
  const frame = page.locator("#letter-html");
  if (await frame.isVisible()) await frame.scrollIntoViewIfNeeded();
  await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
}

/**
 * Pictures of a state: wide, light and English, and narrow, dark and German, both seen by axe-core as
 * well. WEB_SHOTS=all takes the other two, too.
 */
async function look(page, name) {
  const language = (which) => page.locator(`[data-language=${which}]`).evaluate((button) => button.click());
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ["light", "dark"]) {
      const seen = SEEN_BY_AXE.includes(`${size} ${colorScheme}`);
      if (!seen && process.env.WEB_SHOTS !== "all") continue;
      await page.emulateMedia({ colorScheme });
      const which = size === "phone" && colorScheme === "dark" ? "de" : "en";
      await language(which);
      await shot(page, `${name}-${size}-${colorScheme}-${which}`);
      if (seen) await accessible(page, `${name}, ${size}, ${colorScheme}`);
      await fits(page);
      await language("en");
    }
  }
}

export async function accessible(page, name, impacts = ["minor", "moderate", "serious", "critical"]) {
  // The message is a document of its own that no script can enter; a test looks at it by itself.
  if (await page.evaluate(() => !globalThis.axe)) await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { iframes: false, resultTypes: ["violations"] }));
  const found = violations.filter((one) => impacts.includes(one.impact)).map((one) => `${one.impact}: ${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(found, [], name);
}

/** Nothing hangs over the edge. */
export async function fits(page) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(over, 0, "wider than the window");
}
