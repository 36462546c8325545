// The page in a real Chromium: every state, as people get there.

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { accessible, close, fits, open, shown, visit } from "./browser.mjs";
import { otherThan } from "./harness.mjs";

before(open);
after(close);

let pasting = Promise.resolve();
/** Pastes as people do: from the clipboard, of which there is one, by the keyboard. */
function paste({ page, context, web }, text) {
  pasting = pasting.then(async () => {
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: web.origin });
    await page.evaluate((text) => navigator.clipboard.writeText(text), text);
    await page.keyboard.press("Control+V");
  });
  return pasting;
}

test("the whole way in takes less than two seconds", async (t) => {
  const v = await visit(t, [], { clock: false, reducedMotion: "no-preference" });
  const from = performance.now();
  await v.type("ann@example.org");
  await v.page.keyboard.press("Enter");
  const code = await v.read();
  await v.type(code);
  await v.heading("Address confirmed");
  const took = performance.now() - from;
  t.diagnostic(`the way in took ${Math.round(took)} ms`);
  assert.ok(took < 2000, `${took} ms`);
});

// Side by side: each has a server and a browser profile of its own.
describe("in each state", { concurrency: 4 }, () => {
  test("an address, a code from the message beside it, granted", async (t) => {
    const v = await visit(t);
    assert.equal(await v.page.title(), "Confirm your address · otpd");
    await v.look("1-address");
    await v.page.locator("#address").focus();
    const code = await v.code();
    assert.equal(await v.page.locator("#code-lead strong").innerText(), "ann@example.org");
    assert.equal(await v.page.locator("#letter-subject").innerText(), "Your verification code for otpd");
    assert.equal(await v.page.locator("#letter-to").innerText(), "ann@example.org");
    await v.look("2-code");
    await v.boxes().first().focus();
    await v.type(code);
    await v.heading("Address confirmed");
    assert.match(await v.page.locator("#granted-lead").innerText(), /^ann@example\.org is yours/);
    assert.equal(await v.page.evaluate(() => document.activeElement.tagName), "H1");
    assert.equal(await v.page.title(), "Address confirmed · otpd");
    await v.look("3-granted");
    await v.page.reload();
    await v.heading("Address confirmed");
    await v.page.getByText("Confirm another address").click();
    await v.heading("Confirm your address");
    assert.equal(await v.page.locator("#address").inputValue(), "");
    assert.equal(await v.page.locator("#letter").isVisible(), false);
  });

  test("six boxes, each with a name, a keypad and one of them for the code that arrives", async (t) => {
    const v = await visit(t);
    await v.code();
    assert.equal(await v.boxes().count(), 6);
    for (let at = 0; at < 6; at++) {
      const box = v.boxes().nth(at);
      assert.equal(await box.getAttribute("inputmode"), "numeric");
      assert.equal(await box.getAttribute("autocomplete"), at === 0 ? "one-time-code" : "off");
      assert.equal(await v.page.getByLabel(`Digit ${at + 1} of 6`, { exact: true }).count(), 1);
    }
    assert.equal(await v.page.getByRole("group", { name: "Code from the message" }).count(), 1);
  });

  test("keys in the boxes do what people expect", async (t) => {
    const v = await visit(t);
    const { keyboard } = v.page;
    const is = async (value, focus) => assert.deepEqual([await v.value(), await v.focused()], [value, focus]);
    await v.code();
    await is("______", 0);
    await v.type("1a2 -3.x");
    await is("123___", 3);
    await keyboard.press("Backspace");
    await is("12____", 2);
    await keyboard.press("Home");
    await is("12____", 0);
    await v.type("9");
    await is("92____", 1);
    await keyboard.press("ArrowRight");
    await keyboard.press("ArrowRight");
    await is("92____", 3);
    await v.type("4");
    await is("92_4__", 4);
    await keyboard.press("ArrowLeft");
    await keyboard.press("ArrowLeft");
    await is("92_4__", 2);
    await keyboard.press("End");
    await is("92_4__", 5);
    await keyboard.press("ArrowRight");
    await is("92_4__", 5);
    await keyboard.press("Home");
    await keyboard.press("ArrowLeft");
    await is("92_4__", 0);
    await keyboard.press("Delete");
    await is("_2_4__", 0);
    await keyboard.press("Tab");
    await is("_2_4__", 1);
    await keyboard.press("Backspace");
    await is("___4__", 1);
    await keyboard.press("Backspace");
    await is("___4__", 0);
    await keyboard.press("Backspace");
    await is("___4__", 0);
    // Enter with digits missing says so, counts nothing, and goes to the first that is missing.
    await v.type("5");
    await keyboard.press("Enter");
    await v.notice("The code has 6 digits.");
    await is("5__4__", 1);
  });

  for (const [name, form] of Object.entries({
    "with a blank": (code) => `${code.slice(0, 3)} ${code.slice(3)}`,
    "with a hyphen": (code) => `${code.slice(0, 3)}-${code.slice(3)}`,
    "with a sentence around it": (code) => `In 10 minutes: your code is ${code}.\n`,
  })) {
    test(`a code pasted ${name} fills all boxes and is checked`, async (t) => {
      const v = await visit(t);
      const code = await v.code();
      await v.boxes().nth(2).focus();
      await paste(v, form(code));
      await v.heading("Address confirmed");
    });
  }

  test("a code can be pasted anywhere on the page, and a part of one where one stands", async (t) => {
    const v = await visit(t);
    const code = await v.code();
    await v.boxes().nth(1).focus();
    await paste(v, "12");
    assert.deepEqual([await v.value(), await v.focused()], ["_12___", 3]);
    await v.page.locator("#inbox-title").click();
    assert.equal(await v.focused(), -1);
    await paste(v, code);
    await v.heading("Address confirmed");
  });

  test("a code that the telephone fills in goes to all boxes", async (t) => {
    const v = await visit(t);
    const code = await v.code();
    await v.boxes().first().fill(code);
    await v.heading("Address confirmed");
  });

  test("a digit typed into a box that has one replaces it, wherever the caret stands", async (t) => {
    const v = await visit(t);
    await v.code();
    await v.type("12");
    for (const caret of [0, 1]) {
      await v.boxes().first().focus();
      await v.boxes().first().evaluate((box, caret) => box.setSelectionRange(caret, caret), caret);
      await v.type(String(7 + caret));
      assert.deepEqual([await v.value(), await v.focused()], [`${7 + caret}2____`, 1]);
    }
  });

  test("a wrong code empties the boxes, says how many attempts are left, and the last one ends it", async (t) => {
    const v = await visit(t);
    const code = await v.code();
    for (const left of ["4 attempts", "3 attempts", "2 attempts", "One attempt"]) {
      await v.type(otherThan(code));
      await v.notice(`That code is wrong. ${left} left.`);
      assert.deepEqual([await v.value(), await v.focused()], ["______", 0]);
      assert.equal(await v.boxes().first().getAttribute("aria-invalid"), "true");
      assert.equal(await v.page.locator("#code-notice").getAttribute("role"), "status"); // aria-live: polite
      if (left === "4 attempts") {
        await v.look("4-wrong");
        await v.page.reload();
        await v.notice("4 attempts left.");
        assert.equal(await v.page.locator("#letter").isVisible(), true);
      }
    }
    await v.type(otherThan(code));
    await v.heading("Too many wrong codes");
    await v.look("5-attempts-used");
    await v.pass(60);
    await v.page.getByRole("button", { name: "Send a new code" }).click();
    await v.heading("Type the code");
    await v.type(await v.read());
    await v.heading("Address confirmed");
  });

  test("sending again waits for a cool-down that runs, and sends the same code", async (t) => {
    const v = await visit(t, ["--cool-down", "60s"]);
    const code = await v.code();
    const again = v.page.locator("#again");
    assert.equal(await again.getAttribute("aria-disabled"), "true");
    assert.match(await again.innerText(), /^Send it again in (1:00|0:5\d)$/);
    await again.click({ force: true });
    assert.equal(await v.page.locator("#code-notice").innerText(), "");
    await v.pass(30);
    await v.page.clock.runFor(300);
    assert.match(await again.innerText(), /^Send it again in 0:(30|2\d)$/);
    await v.pass(30);
    await v.page.clock.runFor(1000);
    assert.equal(await again.innerText(), "Send it again");
    assert.equal(await again.getAttribute("aria-disabled"), "false");
    await again.click();
    await v.notice("Sent again: the same code.");
    assert.match(await again.innerText(), /^Send it again in (1:00|0:5\d)$/);
    assert.equal(await v.focused(), 0);
    assert.equal(await v.read(), code);
    await v.look("6-sent-again");
    await v.boxes().first().focus();
    await v.type(code);
    await v.heading("Address confirmed");
  });

  test("after the last message of the hour the page says when the next is possible", async (t) => {
    const v = await visit(t, ["--mails-per-hour", "1"]);
    await v.code();
    assert.match(await v.page.locator("#again").innerText(), /^Next message possible in (1 h 0 min|59:5\d)$/);
  });

  test("a code expires before one's eyes, and a new one is sent", async (t) => {
    const v = await visit(t);
    await v.code();
    assert.match(await v.page.locator("#valid").innerText(), /^Valid for (10:00|9:5\d)$/);
    await v.pass(541);
    await v.page.clock.runFor(300);
    assert.match(await v.page.locator("#valid").innerText(), /^Valid for 0:5\d$/);
    assert.equal(await v.page.locator("#told").innerText(), "The code is valid for one more minute.");
    await v.look("7-last-minute");
    await v.pass(60);
    await v.heading("The code has expired");
    assert.equal(await v.page.locator("#letter").isVisible(), false);
    await v.look("8-expired");
    await v.page.getByRole("button", { name: "Send a new code" }).click();
    await v.heading("Type the code");
    await v.type(await v.read());
    await v.heading("Address confirmed");
  });

  test("a code that expired while nobody looked is expired when it is typed", async (t) => {
    const v = await visit(t);
    const code = await v.code();
    await v.web.advance(600);
    await v.type(code);
    await v.heading("The code has expired");
  });

  test("a locked address is told until when, at the code and at the address", async (t) => {
    const v = await visit(t, ["--failures-per-day", "2", "--attempts", "2"]);
    const code = await v.code();
    await v.type(otherThan(code));
    await v.notice("One attempt left.");
    await v.type(otherThan(code));
    await v.heading("Too many wrong codes");
    await v.page.getByRole("button", { name: "Send a new code" }).click();
    await v.notice("Too many wrong codes were typed for this address.");
    assert.match(await v.page.locator("#address-wait").innerText(), /^Possible again in (24 h 0|23 h 59) min$/);
    assert.equal(await v.page.locator("#address").inputValue(), "ann@example.org");
    await v.look("9-locked-address");
  });

  test("a code whose address was locked meanwhile says so, and that it can be waited for", async (t) => {
    const v = await visit(t, ["--failures-per-day", "1", "--attempts", "1"]);
    const other = await v.context.newPage();
    await v.code();
    // The same address in another window, with a session of its own: somebody else's guess.
    const context = await v.context.browser().newContext();
    const stranger = await context.newPage();
    await v.web.advance(60);
    await stranger.goto(v.web.url);
    await stranger.locator("#address").fill("ann@example.org");
    await stranger.keyboard.press("Enter");
    const theirs = await shown(stranger);
    await stranger.keyboard.type(otherThan(theirs));
    await stranger.locator("h1:visible", { hasText: "Too many wrong codes" }).waitFor();
    await context.close();
    await other.close();
    await v.type(otherThan(await v.read()));
    await v.heading("This address is locked");
    assert.match(await v.page.locator("#over-wait").innerText(), /^Possible again in (24 h 0|23 h 59) min$/);
    assert.equal(await v.page.locator("#anew").isVisible(), false);
    await v.look("10-locked");
  });

  test("a lock without an end says who can open it", async (t) => {
    const v = await visit(t, ["--consecutive-failures", "1", "--failures-per-day", "1", "--attempts", "1"]);
    await v.type("ann@example.org\n");
    await v.type(otherThan(await v.read()));
    await v.heading("Too many wrong codes");
    await v.page.getByRole("button", { name: "Send a new code" }).click();
    await v.notice("Only whoever runs this service can open it again.");
    assert.equal(await v.page.locator("#address-wait").isVisible(), false);
    await v.look("11-locked-for-good");
  });

  test("an address that mail can't be sent to is said at once, at its field", async (t) => {
    const v = await visit(t);
    for (const to of ["", "nobody", "ann@example", '"Ann" <ann@example.org>']) {
      await v.page.locator("#address").fill(to);
      await v.page.getByRole("button", { name: "Send me a code" }).click();
      await v.notice("This is not an address that mail can be sent to.");
      const field = v.page.locator("#address");
      assert.equal(await field.getAttribute("aria-invalid"), "true");
      assert.equal(await field.evaluate((element) => element === document.activeElement), true);
      assert.equal(await field.inputValue(), to);
    }
    await v.look("12-bad-address");
  });

  for (const [limit, flags, notice, wait] of [
    ["cooldown", [], "A message was sent to this address just now.", /^Possible again in (1:00|0:5\d)$/],
    ["address_hour", ["--mails-per-hour", "1"], "This address has had its messages for this hour.", /1 h 0 min|59:5\d/],
    ["address_day", ["--mails-per-hour", "1", "--mails-per-day", "1"], "This address has had its messages for today.", /24 h|23 h 59/],
    ["client_hour", ["--client-per-hour", "1"], "Too many codes were asked for from here in an hour.", /1 h 0 min|59:5\d/],
  ]) {
    test(`no message because of ${limit}: which limit, and when it ends`, async (t) => {
      const v = await visit(t, flags);
      await v.code();
      // Left alone rather than left: another browser asks for the same address.
      await v.context.clearCookies();
      await v.page.reload();
      await v.page.locator("#address").fill("ann@example.org");
      await v.page.keyboard.press("Enter");
      await v.notice(notice);
      assert.match(await v.page.locator("#address-wait").innerText(), wait);
      if (limit === "cooldown") {
        await v.look("13-rate-limited");
        await v.page.clock.fastForward(61_000);
        await v.page.clock.runFor(300);
        assert.equal(await v.page.locator("#address-wait").isVisible(), false);
      }
    });
  }

  test("a full house and too many live codes are said", async (t) => {
    const v = await visit(t, ["--live-sessions", "1", "--capacity", "1", "--cool-down", "1s"]);
    await v.code();
    await v.context.clearCookies();
    await v.page.reload();
    await v.web.advance(2);
    await v.type("ann@example.org\n");
    await v.notice("There are enough codes under way to this address.");
    await v.page.locator("#address").fill("bob@example.org");
    await v.page.keyboard.press("Enter");
    await v.notice("There is no room for more visitors just now.");
  });

  test("a mail that fails, for now or for good, or of which nobody knows; and nothing is shown beside", async (t) => {
    const directory = mkdtempSync(path.join(os.tmpdir(), "otpd-web-mail-"));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const program = path.join(directory, "sendmail");
    const says = (script) => {
      writeFileSync(program, `#!/bin/sh\ncat >"${directory}/message"\n${script}\n`);
      chmodSync(program, 0o755);
    };
    says("exit 75");
    const flags = ["--sendmail", program, "--from", "no-reply@example.org", "--delivery-timeout", "3", "--cool-down", "1s"];
    const v = await visit(t, flags, { clock: false });
    assert.equal(await v.page.locator("#inbox").isVisible(), false);
    const send = v.page.getByRole("button", { name: "Send me a code" });
    await v.page.locator("#address").fill("ann@example.org");
    await send.click();
    await v.notice("The message could not be sent just now.");
    await v.look("14-delivery-failed");
    says("exit 69");
    await send.click();
    await v.notice("The mail server refuses messages to this address.");
    says("exit 0");
    await send.click();
    await v.heading("Type the code");
    assert.equal(await v.page.locator("#inbox").isVisible(), false);
    await v.look("15-real-mail");
    says("sleep 30");
    await v.page.getByRole("button", { name: "Use another address" }).click();
    await v.type("bob@example.org\n");
    await v.notice("We can’t tell whether the message arrived.");
  });

  test("a daemon that ends is said, and started again for the next code", async (t) => {
    const v = await visit(t);
    const code = await v.code();
    await new Promise((resolve) => setTimeout(resolve, 2000)); // it is not started in a circle
    await v.web.killDaemon();
    await v.type(code);
    await v.heading("The service was interrupted");
    await v.look("16-interrupted");
    await v.page.getByRole("button", { name: "Try again" }).click();
    await v.heading("Type the code");
    await v.type(await v.read());
    await v.heading("Address confirmed");
  });

  test("a daemon that can't be started again is not available, and the page says so", async (t) => {
    const v = await visit(t, [], { env: { OTPD_ONCE: "yes" } });
    await v.web.killDaemon();
    await v.type("ann@example.org\n");
    await v.notice("The service is not available just now.");
  });

  test("a server that is gone is said, and what was typed is kept", async (t) => {
    const v = await visit(t, [], { forgive: /ERR_CONNECTION_REFUSED/ });
    const code = await v.code();
    await v.web.stop();
    await v.type(code);
    await v.notice("There is no answer.");
    assert.equal(await v.value(), code);
  });

  test("another address can be used, and the first code ends with that", async (t) => {
    const v = await visit(t);
    const code = await v.code();
    await v.page.getByRole("button", { name: "Use another address" }).click();
    await v.heading("Confirm your address");
    const other = await v.code("bob@example.org");
    assert.notEqual(other, code);
    await v.type(other);
    await v.heading("Address confirmed");
    assert.match(await v.page.locator("#granted-lead").innerText(), /^bob@example\.org/);
  });

  test("without a mouse: Tab reaches everything in order, and Enter is enough", async (t) => {
    const v = await visit(t);
    const walk = async (steps) => {
      const names = [];
      for (let step = 0; step < steps; step++) {
        await v.page.keyboard.press("Tab");
        names.push(await v.page.evaluate(() => {
          const element = document.activeElement;
          return element.getAttribute("aria-label") ?? (element.labels?.[0] ?? element).innerText;
        }));
      }
      return names;
    };
    const code = await v.code();
    assert.deepEqual((await walk(7)).map((name) => name.replace(/ in \d.*/, "")), ["Digit 2 of 6", "Digit 3 of 6",
      "Digit 4 of 6", "Digit 5 of 6", "Digit 6 of 6", "Confirm", "Send it again"]);
    assert.ok((await walk(2)).includes("Formatted")); // the message's frame may be a step before that
    await v.boxes().first().focus();
    await v.page.keyboard.press("Shift+Tab");
    await v.page.keyboard.press("Shift+Tab");
    assert.equal(await v.page.evaluate(() => document.activeElement.innerText), "Deutsch");
    await v.page.keyboard.press("Enter");
    await v.heading("Code eingeben");
    await v.page.keyboard.press("Tab");
    await v.page.keyboard.press("Tab");
    await v.type(code);
    await v.heading("Adresse bestätigt");
  });

  test("German by Accept-Language, English by choice, and the choice is kept", async (t) => {
    const v = await visit(t, [], { locale: "de-AT" });
    const lang = () => v.page.evaluate(() => document.documentElement.lang);
    assert.equal(await lang(), "de");
    await v.heading("Adresse bestätigen");
    await v.page.getByRole("button", { name: "English" }).click();
    await v.heading("Confirm your address");
    assert.equal(await lang(), "en");
    assert.equal(await v.page.getByRole("button", { name: "English" }).getAttribute("aria-pressed"), "true");
    await v.page.reload();
    await v.heading("Confirm your address");
  });

  test("no words are missing in either language", async () => {
    const { words, duration } = await import("../../scripts/page/static/words.js");
    const names = (table) => Object.entries(table).flatMap(([name, value]) =>
      typeof value === "object" && !Array.isArray(value) ? names(value).map((inner) => `${name}.${inner}`) : [`${name}:${typeof value}`]);
    assert.deepEqual(names(words.de), names(words.en));
    assert.deepEqual([0, 5, 59.1, 600, 3600, 86_399].map(duration), ["0:00", "0:05", "1:00", "10:00", "1 h 0 min", "23 h 59 min"]);
  });

  for (const digits of [7, 8, 10]) {
    test(`${digits} digits have ${digits} boxes, also on the narrowest telephone`, async (t) => {
      const v = await visit(t, ["--digits", String(digits)], { viewport: { width: 320, height: 700 } });
      const code = await v.code();
      assert.equal(code.length, digits);
      assert.equal(await v.boxes().count(), digits);
      await fits(v.page);
      const { width } = await v.boxes().last().boundingBox();
      assert.ok(width >= 24, `a box is ${width} px wide`); // WCAG 2.2, 2.5.8
      await v.shot(`17-${digits}-digits-320`);
      await accessible(v.page, `${digits} digits`);
      await v.type(code);
      await v.heading("Address confirmed");
    });
  }

  test("the message can be read as plain text, and by itself is accessible", async (t) => {
    const v = await visit(t);
    const code = await v.code();
    await v.page.getByLabel("Plain text").check();
    assert.ok((await v.page.locator("#letter-text").innerText()).includes(`\n${code}\n`));
    assert.equal(await v.page.locator("#letter-html").isVisible(), false);
    await v.look("18-plain-text");
    const html = await v.page.frameLocator("#letter-html").locator("html").evaluate((element) => element.outerHTML);
    const alone = await v.context.newPage();
    await alone.setContent(html);
    await accessible(alone, "the message", ["serious", "critical"]);
  });

  test("nothing moves for those who don't want it", async (t) => {
    const v = await visit(t);
    await v.code();
    assert.deepEqual(await v.page.evaluate(() => document.getAnimations().map((one) => one.animationName)), []);
  });
});
