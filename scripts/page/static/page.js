// The page: one view at a time, all that it knows from the server, and clocks that run meanwhile.

import { Boxes } from "./boxes.js";
import { hideLetter, showDate, showLetter } from "./inbox.js";
import { duration, words } from "./words.js";

const at = (id) => document.getElementById(id);
const now = () => performance.now() / 1000;

const state = {
  view: "address",
  digits: 6,
  attempts: 5,
  showsMail: false,
  to: "",
  expires: 0, // when, by `now`
  again: 0, // when it can be sent again
  over: "gone", // why the code is no good any more
  wait: 0, // until when an address or a limit rests
  addressNotice: null, // functions of the words, so that the language can change under them
  codeNotice: null,
  busy: false, // something was asked that has effects
  refreshing: false,
  lastMinute: false,
};

let language = localStorage.getItem("language") ?? document.documentElement.lang;
if (!(language in words)) language = "en";
let say = words[language];

const boxes = new Boxes(at("boxes"), () => confirmCode());

// ── showing

function show(view) {
  state.view = view;
  for (const name of ["address", "code", "over", "granted"]) at(`view-${name}`).hidden = name !== view;
  document.body.dataset.view = view;
  render();
  tick();
  if (view === "address") at("address").focus();
  else if (view === "code") boxes.focus();
  else document.querySelector(`#view-${view} h1`).focus();
}

/** Everything that is said, in the language of the moment. */
function render() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say[element.dataset.say];
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say[element.dataset.label]);
  }
  for (const element of document.querySelectorAll("[data-title]")) element.title = say[element.dataset.title];
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  boxes.label(state.digits, say.digit);
  address(at("code-lead"), say.codeLead(state.digits));
  address(at("granted-lead"), say.grantedLead);
  const [title, lead] = say.over[state.over];
  at("over-title").textContent = title;
  at("over-lead").textContent = lead;
  at("anew").textContent = state.over === "interrupted" ? say.tryAgain : say.newCode;
  notice(at("address-notice"), state.addressNotice);
  notice(at("code-notice"), state.codeNotice);
  at("send").textContent = state.busy ? say.sending : say.send;
  at("confirm").textContent = state.busy ? say.confirming : say.confirm;
  const heading = { address: say.addressTitle, code: say.codeTitle, over: title, granted: say.grantedTitle };
  document.title = `${heading[state.view]} · otpd`;
  showDate(language);
}

/** A sentence around the address. */
function address(element, [before, after]) {
  const strong = document.createElement("strong");
  strong.textContent = state.to;
  element.replaceChildren(before, strong, after);
}

function notice(element, words) {
  const text = words ? words.text(say) : "";
  element.classList.toggle("bad", Boolean(words?.bad));
  // Said again only if it is something else: it is read out whenever it changes.
  if (element.textContent !== text) element.textContent = text;
}

const bad = (text) => ({ text, bad: true });
const good = (text) => ({ text, bad: false });

/** Says something to those who listen, the same thing twice if need be. */
function tell(text) {
  at("told").textContent = "";
  requestAnimationFrame(() => { at("told").textContent = text; });
}

function busy(yes) {
  state.busy = yes;
  document.body.toggleAttribute("data-busy", yes);
  boxes.lock(yes);
  render();
}

// ── clocks

function tick() {
  const moment = now();
  const wait = state.wait - moment;
  for (const id of ["address-wait", "over-wait"]) {
    at(id).hidden = wait <= 0;
    at(id).textContent = wait > 0 ? say.waiting(duration(wait)) : "";
  }
  // A lock that ends at a known time is waited for; there is nothing to be asked before.
  at("anew").hidden = state.over === "locked_for_good" || (state.over === "locked" && wait > 0);
  if (state.view !== "code") return;
  const valid = state.expires - moment;
  const cooling = state.again - moment;
  at("valid").textContent = say.valid(duration(valid));
  at("valid").classList.toggle("soon", valid <= 60);
  if (valid <= 60 && valid > 0 && !state.lastMinute) {
    state.lastMinute = true;
    tell(say.lastMinute);
  }
  at("again").setAttribute("aria-disabled", String(cooling > 0));
  at("again").textContent = cooling <= 0 ? say.again
    : (cooling >= valid ? say.noMore : say.againIn)(duration(cooling));
  if (valid <= 0) refresh();
}

function clocks(answer) {
  const moment = now();
  state.expires = moment + answer.expires_in_s;
  state.again = moment + answer.resend_in_s;
  state.lastMinute = answer.expires_in_s <= 60;
}

// ── asking

async function post(path, body = {}) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return await answer.json();
  } catch {
    return { ok: false, error: "unreachable" };
  }
}

/** Why there was no message, in words. */
function reason(answer) {
  const { error, limit, retry_in_s: wait, temporary } = answer;
  state.wait = wait === undefined ? 0 : now() + wait;
  let name = error;
  if (error === "bad_field") name = "bad_address";
  if (error === "rate_limited") name = limit;
  if (error === "locked" && wait === undefined) name = "locked_for_good";
  if (error === "delivery_failed") name = temporary ? "later" : "refused";
  return bad((say) => say.errors[name] ?? say.errors.other);
}

async function sendCode(to) {
  if (state.busy) return;
  state.addressNotice = null;
  state.wait = 0;
  at("address").removeAttribute("aria-invalid");
  busy(true);
  const answer = await post("/issue", { to, locale: language });
  busy(false);
  if (!answer.ok) {
    state.addressNotice = reason(answer);
    at("address").value = to;
    if (["bad_address", "bad_field"].includes(answer.error)) at("address").setAttribute("aria-invalid", "true");
    show("address");
    return;
  }
  state.to = answer.to;
  state.codeNotice = answer.delivery === "uncertain" ? good((say) => say.uncertain) : null;
  clocks(answer);
  boxes.clear();
  boxes.invalid(false);
  show("code");
  if (state.showsMail) showLetter(language);
}

async function confirmCode() {
  if (state.busy) return;
  if (boxes.value.length !== state.digits) {
    state.codeNotice = bad((say) => say.missing(state.digits));
    render();
    boxes.focus();
    return;
  }
  state.codeNotice = null;
  busy(true);
  const answer = await post("/verify", { code: boxes.value });
  busy(false);
  if (answer.ok) {
    state.to = answer.to;
    boxes.clear();
    show("granted");
  } else if (answer.error === "wrong_code" && answer.attempts_left > 0) {
    state.codeNotice = bad((say) => say.wrong(answer.attempts_left));
    boxes.clear();
    boxes.invalid(true);
    render();
    boxes.focus();
  } else if (answer.error === "unreachable") {
    state.codeNotice = bad((say) => say.errors.unreachable);
    render();
  } else {
    end(answer);
  }
}

async function sendAgain() {
  if (state.busy) return;
  if (state.again > now()) return tell(at("again").textContent);
  state.codeNotice = null;
  busy(true);
  const answer = await post("/resend");
  busy(false);
  if (answer.ok) {
    state.codeNotice = good((say) => answer.delivery === "uncertain" ? say.uncertain : say.sentAgain);
    clocks(answer);
    if (state.showsMail) showLetter(language);
  } else if (["rate_limited", "delivery_failed", "unreachable"].includes(answer.error)) {
    state.codeNotice = reason(answer);
    if (answer.retry_in_s) state.again = state.wait;
    state.wait = 0;
  } else {
    return end(answer);
  }
  render();
  tick();
  boxes.focus();
}

/** The code is no good any more. */
function end({ error, retry_in_s: wait }) {
  state.over = error in say.over ? error : error === "wrong_code" ? "attempts_used" : "gone";
  if (error === "locked" && wait === undefined) state.over = "locked_for_good";
  state.wait = wait === undefined ? 0 : now() + wait;
  boxes.clear();
  hideLetter();
  show("over");
}

function leave() {
  post("/leave");
  state.addressNotice = null;
  state.wait = 0;
  boxes.clear();
  hideLetter();
  at("address").value = "";
  show("address");
}

/** How things stand, as the server sees them: after loading, after sleep, when a code's time is over. */
async function refresh() {
  if (state.busy || state.refreshing) return;
  state.refreshing = true;
  let answer;
  try {
    answer = await (await fetch("/state")).json();
  } catch {
    state.expires = now() + 5; // then once more
    return;
  } finally {
    state.refreshing = false;
  }
  if (state.busy) return; // somebody was quicker, and is told how things stand
  state.digits = answer.digits;
  state.attempts = answer.attempts;
  state.showsMail = answer.shows_mail;
  at("inbox").hidden = !state.showsMail;
  const { visit } = answer;
  if (visit) state.to = visit.to;
  if (!visit) {
    if (state.view === "code") end({ error: "gone" });
    else show("address");
  } else if (visit.state === "pending") {
    clocks(visit);
    if (visit.attempts_left < state.attempts) state.codeNotice ??= good((say) => say.left(visit.attempts_left));
    if (state.view === "code") return tick();
    show("code");
    if (state.showsMail) showLetter(language);
  } else if (visit.state === "verified") {
    show("granted");
    if (state.showsMail) showLetter(language);
  } else {
    end({ error: visit.state ?? visit.error });
  }
}

// ── what people do

at("address-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sendCode(at("address").value.trim());
});
at("code-form").addEventListener("submit", (event) => {
  event.preventDefault();
  confirmCode();
});
at("again").addEventListener("click", sendAgain);
at("anew").addEventListener("click", () => sendCode(state.to));
for (const id of ["another", "over-another", "over-again"]) at(id).addEventListener("click", leave);

document.addEventListener("paste", (event) => {
  if (state.view !== "code") return;
  event.preventDefault();
  boxes.paste(event.clipboardData.getData("text"));
});

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    language = button.dataset.language;
    say = words[language];
    localStorage.setItem("language", language);
    render();
    tick();
  });
}

// A computer that slept has slept through its clocks.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && state.view === "code") refresh();
});

setInterval(tick, 250);
at("views").hidden = false;
await refresh();
