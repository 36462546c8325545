//! otpd mails one-time codes and checks them: e-mail verification as a subprocess.
//!
//! A program writes one JSON command a line to `otpd serve` and reads one JSON reply a line back.
//! The README tells how to use it; this is the map of how it is made.
//!
//! ```text
//! main ── cli ──► serve ──► protocol        programs, a line each
//!          ├─────► ask                      a person, a digit each
//!          │        └──► visit
//!          ▼              ▼
//!       (both over) service ──► engine ──► session, budget, code, policy, address
//!                      │           └──► clock (types and traits)
//!                      └──────► mail ──► compose ──► templates, text
//!                                 └────► outbox; post ──► smtp, sendmail
//! ```
//!
//! Read it in the order of the modules below. Three rules hold it together, each kept by a test
//! that reads the source (`tests/it/walls.rs`):
//!
//! - [`engine`] and [`address`] decide and do nothing else: no input or output, no clock, no
//!   threads, no JSON, no mail. Time and chance are handed in ([`clock`]).
//! - Only [`protocol`] knows JSON, only [`mail`] knows the mail library, the template engine and
//!   TLS, only [`ask`] knows terminals, and only [`serve`] and the reports of [`cli`] touch stdout.
//! - No `unsafe` code.
//!
//! # The life of a command
//!
//! [`serve`] waits for bytes and cuts them into lines. Its desk has each line parsed
//! ([`protocol::parse`]) and the outcome written ([`protocol::reply`]). In between, the [`service`]
//! asks the [`engine`] to decide, has a letter written and carried by [`mail`] if the decision was
//! to send one, and tells the engine how that went. All of it happens in the thread that read the
//! line: nothing is handed over, nothing is locked. Only a message that somebody else carries
//! leaves for another thread ([`mail::post`]) and comes back as an event.
//!
//! # Where the secrets are
//!
//! A session holds random bytes and no code. The code is computed from them under a key that lives
//! as long as the process, when it is mailed and when a guess is checked, in a type that can't be
//! printed and is wiped when dropped. The mail library never sees it: messages are written from
//! forms with a blank for it ([`mail::form`]). The input it is typed into is wiped with each
//! read ([`serve`]).

pub mod cli;
pub mod serve;

pub mod ask;

pub mod protocol;

pub mod service;

pub mod address;
pub mod clock;
pub mod engine;

pub mod mail;

pub mod log;
pub mod simulate;
pub mod system;
