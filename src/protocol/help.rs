//! The one table of commands, fields and error words.

use std::fmt::Write;

use super::Word;

/// One command.
#[derive(Debug)]
pub struct Command {
    /// The word in `cmd`.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its fields, besides `cmd` and `id`.
    pub fields: &'static [Field],
    /// The fields of its reply when `ok` is true.
    pub reply: &'static [&'static str],
}

/// One field of a command.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type and bounds.
    pub form: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// One error word.
#[derive(Debug)]
pub struct Error {
    /// Which.
    pub word: Word,
    /// The word in `error`.
    pub name: &'static str,
    /// When it is answered.
    pub when: &'static str,
    /// Further fields of the reply, besides `message`.
    pub fields: &'static [&'static str],
}

/// What `help` can be about.
#[derive(Clone, Copy, Debug)]
pub enum Topic {
    /// A command.
    Command(&'static Command),
    /// An error word.
    Error(&'static Error),
}

impl Topic {
    /// The topic of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        command(name)
            .map(Self::Command)
            .or_else(|| ERRORS.iter().find(|error| error.name == name).map(Self::Error))
    }
}

/// The command of this name.
#[must_use]
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl Word {
    /// The word's row in the table.
    #[must_use]
    pub const fn row(self) -> &'static Error {
        &ERRORS[self as usize]
    }

    /// The word in replies, logs and counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }
}

const SESSION: Field =
    Field { name: "session", form: "string, required", about: "the session of an `issue`" };

const MAILED: &[&str] =
    &["session", "to", "delivery", "via", "file", "expires_in_s", "resend_in_s", "attempts_left"];

/// Every command. `advance` is only known in the simulated world.
pub static COMMANDS: [Command; 8] = [
    Command {
        name: "issue",
        about: "makes a session, mails its code, and replies when the mail is away",
        fields: &[
            Field { name: "to", form: "string, required", about: "one address" },
            Field {
                name: "purpose",
                form: "string, 1–64 bytes",
                about: "binds the code: `verify` must name the same",
            },
            Field {
                name: "locale",
                form: "string, a BCP 47 tag, ≤ 64 bytes",
                about: "the language of the message; the nearest there is, or that of `--locale`",
            },
            Field {
                name: "ttl_s",
                form: "integer, ≥ 30",
                about: "life of this code; may only shorten the configured one",
            },
            Field {
                name: "data",
                form: "any JSON value, ≤ 1,024 bytes, ≤ 64 levels",
                about: "kept with the session and given back by the successful `verify`",
            },
            Field {
                name: "client",
                form: "string, 1–128 bytes",
                about: "whoever asked: an additional budget, never a replacement",
            },
            Field {
                name: "vars",
                form: "object of strings, ≤ 16, names 1–64 and values ≤ 256 bytes",
                about: "named values for the templates of `--templates`; the built-in ones use none",
            },
        ],
        reply: MAILED,
    },
    Command {
        name: "verify",
        about: "is `ok:true` for the right code, once, and for nothing else",
        fields: &[
            SESSION,
            Field {
                name: "code",
                form: "string, required",
                about: "what was typed; blanks and hyphens in it are ignored",
            },
            Field {
                name: "purpose",
                form: "string, 1–64 bytes",
                about: "required if `issue` had one, and the same",
            },
        ],
        reply: &["session", "to", "purpose", "data"],
    },
    Command {
        name: "resend",
        about: "mails the same code again; attempts and expiry stay as they are",
        fields: &[SESSION],
        reply: MAILED,
    },
    Command {
        name: "cancel",
        about: "ends a session; counters stay",
        fields: &[SESSION],
        reply: &["session"],
    },
    Command {
        name: "status",
        about: "tells how a session stands, or, without one, the daemon; changes nothing",
        fields: &[Field {
            name: "session",
            form: "string",
            about: "the session of an `issue`; none for the daemon",
        }],
        reply: &["session", "state", "delivery", "expires_in_s", "resend_in_s", "attempts_left"],
    },
    Command {
        name: "unlock",
        about: "clears an address's failures and budgets; for operators",
        fields: &[Field { name: "to", form: "string, required", about: "one address" }],
        reply: &["to"],
    },
    Command {
        name: "help",
        about: "lists commands, fields and errors",
        fields: &[Field {
            name: "about",
            form: "string",
            about: "a command or an error word: only that one",
        }],
        reply: &["commands", "errors"],
    },
    Command {
        name: "advance",
        about: "moves the clock; only with `--simulate`",
        fields: &[Field {
            name: "seconds",
            form: "integer, 1–31,536,000, required",
            about: "how far",
        }],
        reply: &["now_s"],
    },
];

/// Every error word, in the order of [`Word`].
pub static ERRORS: [Error; 19] = [
    row(Word::BadJson, "bad_json", "not one JSON object in UTF-8", &["line"]),
    row(Word::LineTooLong, "line_too_long", "the line is over 65,536 bytes", &["line"]),
    row(Word::UnknownCommand, "unknown_command", "`cmd` is not known", &[]),
    row(
        Word::BadField,
        "bad_field",
        "a field is missing, unknown, doubled, of a wrong type or out of bounds",
        &["field"],
    ),
    row(Word::BadAddress, "bad_address", "not an address mail can be sent to", &[]),
    row(
        Word::BadCode,
        "bad_code",
        "not the right number of digits; not counted",
        &["attempts_left"],
    ),
    row(Word::WrongCode, "wrong_code", "a wrong code; counted", &["attempts_left"]),
    row(
        Word::WrongPurpose,
        "wrong_purpose",
        "the code was issued for another purpose; neither counted nor compared",
        &[],
    ),
    row(Word::NoSession, "no_session", "never issued, or forgotten", &[]),
    row(Word::Expired, "expired", "too late", &[]),
    row(Word::AlreadyUsed, "already_used", "verified before", &[]),
    row(Word::Cancelled, "cancelled", "cancelled before", &[]),
    row(
        Word::AttemptsUsed,
        "attempts_used",
        "this code had its wrong attempts; issue a new one",
        &[],
    ),
    row(
        Word::Locked,
        "locked",
        "too many wrong codes for this address; without `retry_in_s` only `unlock` helps",
        &["retry_in_s"],
    ),
    row(
        Word::RateLimited,
        "rate_limited",
        "too many mails asked for; `limit` is `cooldown`, `address_hour`, `address_day`, \
         `live_sessions` or `client_hour`",
        &["limit", "retry_in_s"],
    ),
    row(
        Word::AtCapacity,
        "at_capacity",
        "a table is full, and nothing is evicted to make room",
        &[],
    ),
    row(
        Word::DeliveryFailed,
        "delivery_failed",
        "the mail was refused or could not be handed over",
        &["temporary", "smtp"],
    ),
    row(Word::ShuttingDown, "shutting_down", "not begun before the end", &[]),
    row(Word::Internal, "internal", "our fault (no randomness)", &[]),
];

const fn row(
    word: Word,
    name: &'static str,
    when: &'static str,
    fields: &'static [&'static str],
) -> Error {
    Error { word, name, when, fields }
}

/// The table as text, for `otpd help`.
#[must_use]
pub fn as_text() -> String {
    let mut text = String::from("Commands on standard input, one JSON object a line:\n");
    for command in &COMMANDS {
        let _ = write!(text, "\n  {}\n      {}\n", command.name, command.about);
        for field in command.fields {
            let _ = writeln!(text, "      - {} ({}): {}", field.name, field.form, field.about);
        }
    }
    text.push_str(
        "\nEvery command takes an `id` (string ≤ 128 bytes, or integer within ±2^53), which comes \
         back in its reply and lets it run beside others.\n\nErrors:\n\n",
    );
    for error in &ERRORS {
        let _ = write!(text, "  {}\n      {}", error.name, error.when);
        let _ = match error.fields {
            [] => writeln!(text),
            fields => writeln!(text, " [{}]", fields.join(", ")),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_to_its_own_row() {
        for error in &ERRORS {
            assert_eq!(error.word.row().name, error.name);
        }
    }
}
