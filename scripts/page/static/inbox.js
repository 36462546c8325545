// The message beside the form, as it would arrive. Only where nothing is really mailed.

const at = (id) => document.getElementById(id);

let sent; // when the shown message was mailed

export async function showLetter(language) {
  const answer = await fetch("/mail");
  const mail = answer.ok ? await answer.json() : null;
  at("letter").hidden = !mail;
  at("no-letter").hidden = Boolean(mail);
  if (!mail) return;
  at("letter-face").textContent = [...mail.from_name][0].toUpperCase();
  at("letter-name").textContent = mail.from_name;
  at("letter-from").textContent = mail.from_address;
  at("letter-to").textContent = mail.to;
  at("letter-subject").textContent = mail.subject;
  at("letter-text").textContent = mail.text.trim();
  // A document of its own, with a policy of its own, that can do nothing but be read.
  at("letter-html").src = "/mail/html";
  sent = new Date(mail.date);
  showDate(language);
}

export function showDate(language) {
  if (!sent) return;
  at("letter-date").dateTime = sent.toISOString();
  // In the form of the visitor's own country, if that speaks this language.
  const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;
  at("letter-date").textContent = sent.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
}

export function hideLetter() {
  at("letter").hidden = true;
  at("no-letter").hidden = false;
}

for (const radio of document.querySelectorAll('input[name="kind"]')) {
  radio.addEventListener("change", () => {
    at("letter-html").hidden = radio.value !== "html";
    at("letter-text").hidden = radio.value !== "text";
  });
}
