// One box per digit that behave as one field: digits move on, Backspace moves back, arrows, Home and
// End move, a pasted or filled-in code goes to its places, and everything that is no digit is ignored.

const digitsIn = (text) => text.replace(/\D/g, "");

/** The code in a pasted text: a run of the right number of digits, or else whatever digits there are. */
export function codeIn(text, count) {
  const runs = text.match(/\d(?:[\s\p{Pd}]*\d)*/gu) ?? [];
  return runs.map(digitsIn).find((run) => run.length === count) ?? digitsIn(text).slice(0, count);
}

export class Boxes {
  /** `complete` is called whenever a digit came and no box is empty any more. */
  constructor(element, complete) {
    this.element = element;
    this.complete = complete;
    this.boxes = [];
    this.locked = false;
    element.addEventListener("input", (event) => this.#input(event));
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("focusin", (event) => event.target.select());
  }

  /** As many boxes as the code has digits, with names for who can't see them. */
  label(count, name) {
    if (this.boxes.length !== count) {
      this.boxes = Array.from({ length: count }, (_, at) => {
        const box = document.createElement("input");
        box.type = "text";
        box.inputMode = "numeric";
        // A filled-in code comes whole, so the first box has no maxlength.
        box.autocomplete = at === 0 ? "one-time-code" : "off";
        box.pattern = "[0-9]*";
        box.enterKeyHint = at === count - 1 ? "done" : "next";
        if (count % 2 === 0 && at === count / 2) box.className = "second-half";
        return box;
      });
      this.element.replaceChildren(...this.boxes);
      this.element.dataset.count = String(count);
    }
    this.boxes.forEach((box, at) => box.setAttribute("aria-label", name(at + 1, count)));
  }

  get value() {
    return this.boxes.map((box) => box.value).join("");
  }

  clear() {
    for (const box of this.boxes) this.#set(box, "");
  }

  focus() {
    (this.boxes.find((box) => !box.value) ?? this.boxes.at(-1))?.focus();
  }

  lock(locked) {
    this.locked = locked;
    for (const box of this.boxes) box.readOnly = locked;
  }

  invalid(yes) {
    for (const box of this.boxes) {
      if (yes) box.setAttribute("aria-invalid", "true");
      else box.removeAttribute("aria-invalid");
    }
  }

  paste(text) {
    if (this.locked) return;
    const code = codeIn(text, this.boxes.length);
    const at = code.length === this.boxes.length ? 0 : this.#at(document.activeElement);
    this.#fill(Math.max(0, at), code);
  }

  #at(box) {
    return this.boxes.indexOf(box);
  }

  #set(box, digit) {
    box.value = digit;
    box.dataset.digit = digit;
  }

  #fill(at, digits) {
    if (!digits) return;
    this.invalid(false);
    [...digits].forEach((digit, offset) => {
      const box = this.boxes[at + offset];
      if (box) this.#set(box, digit);
    });
    if (this.value.length === this.boxes.length) {
      this.boxes[Math.min(at + digits.length, this.boxes.length) - 1].focus();
      this.complete();
    } else {
      (this.boxes[at + digits.length] ?? this.boxes.find((box) => !box.value)).focus();
    }
  }

  #input(event) {
    const box = event.target;
    const before = box.dataset.digit ?? "";
    let digits = digitsIn(box.value);
    // A second digit in a box replaces the first; more than two are a code that was filled in.
    if (before && digits.length === 2) digits = digits[0] === before ? digits[1] : digits[0];
    if (!digits) {
      this.#set(box, event.inputType?.startsWith("delete") ? "" : before);
      if (box.value) box.select();
      return;
    }
    this.#set(box, before);
    const code = digits.slice(0, this.boxes.length);
    this.#fill(code.length === this.boxes.length ? 0 : this.#at(box), code);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || this.locked) return;
    const at = this.#at(event.target);
    const last = this.boxes.length - 1;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (to !== undefined && !event.shiftKey) {
      event.preventDefault();
      const box = this.boxes[Math.min(last, Math.max(0, to))];
      box.focus();
      box.select();
    } else if (event.key === "Backspace") {
      event.preventDefault();
      this.invalid(false);
      const box = event.target.value ? event.target : this.boxes[Math.max(0, at - 1)];
      this.#set(box, "");
      box.focus();
    } else if (event.key === "Delete") {
      event.preventDefault();
      this.#set(event.target, "");
    } else if (event.key.length === 1 && !/\d/.test(event.key)) {
      event.preventDefault();
    }
  }
}
