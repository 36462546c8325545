//! An outcome becomes a line.

use std::time::Duration;

use super::help::{COMMANDS, Command, ERRORS, Error, Topic};
use super::json::Object;
use super::status::Daemon;
use super::{Fault, FieldFault, RequestId, Word};
use crate::engine::State;
use crate::engine::{Delivery, Limit, Mailed, Refusal, Standing, Verified};

/// One reply line that is being written: an object whose fields come in the order they are given.
#[derive(Debug)]
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
    id: Option<RequestId<'o>>,
}

impl<'o> Reply<'o> {
    /// A reply to the request of this id.
    pub const fn to(id: Option<RequestId<'o>>, out: &'o mut Vec<u8>) -> Self {
        Self { out, id }
    }

    /// The code was mailed.
    pub fn mailed(self, mailed: &Mailed<'_>, via: &str, file: Option<&str>) {
        let mut object = self.yes();
        object.text("session", mailed.session.as_str());
        object.text("to", mailed.to);
        object.text("delivery", delivery_word(mailed.delivery));
        object.text("via", via);
        if let Some(file) = file {
            object.text("file", file);
        }
        object.secs("expires_in_s", mailed.expires_in);
        object.secs("resend_in_s", mailed.resend_in);
        object.number("attempts_left", mailed.attempts_left.into());
        object.end();
    }

    /// The code was right.
    pub fn verified(self, session: &str, verified: &Verified<'_>) {
        let mut object = self.yes();
        object.text("session", session);
        object.text("to", verified.to);
        if let Some(purpose) = verified.purpose {
            object.text("purpose", purpose);
        }
        if let Some(data) = verified.data {
            object.raw("data", data);
        }
        object.end();
    }

    /// The session was cancelled.
    pub fn cancelled(self, session: &str) {
        let mut object = self.yes();
        object.text("session", session);
        object.end();
    }

    /// How the session stands.
    pub fn standing(self, session: &str, standing: &Standing) {
        let mut object = self.yes();
        object.text("session", session);
        object.text("state", state_word(standing.state));
        object.text("delivery", delivery_word(standing.delivery));
        object.secs("expires_in_s", standing.expires_in);
        object.secs("resend_in_s", standing.resend_in);
        object.number("attempts_left", standing.attempts_left.into());
        object.end();
    }

    /// How the daemon stands.
    pub fn daemon(self, daemon: &Daemon<'_>) {
        let mut object = self.yes();
        daemon.write(&mut object);
        object.end();
    }

    /// The address was unlocked.
    pub fn unlocked(self, to: &str) {
        let mut object = self.yes();
        object.text("to", to);
        object.end();
    }

    /// The simulated clock was moved.
    pub fn advanced(self, now: Duration) {
        let mut object = self.yes();
        object.number("now_s", now.as_secs());
        object.end();
    }

    /// The table of commands and errors, or one row of it.
    pub fn help(self, about: Option<Topic>) {
        let mut object = self.yes();
        let commands = |object: &mut Object<'_>, commands: &[&Command]| {
            object.group("commands", |group| {
                for command in commands {
                    group.group(command.name, |group| command_fields(command, group));
                }
            });
        };
        let errors = |object: &mut Object<'_>, errors: &[&Error]| {
            object.group("errors", |group| {
                for error in errors {
                    group.group(error.name, |group| {
                        group.text("when", error.when);
                        group.texts("fields", error.fields);
                    });
                }
            });
        };
        match about {
            Some(Topic::Command(command)) => commands(&mut object, &[command]),
            Some(Topic::Error(error)) => errors(&mut object, &[error]),
            None => {
                commands(&mut object, &COMMANDS.iter().collect::<Vec<_>>());
                errors(&mut object, &ERRORS.iter().collect::<Vec<_>>());
            }
        }
        object.end();
    }

    /// The engine said no. Gives back the word, to be counted.
    pub fn refused(self, refusal: &Refusal) -> Word {
        let (word, message) = refusal_words(refusal);
        let mut object = self.no(word, message);
        match *refusal {
            Refusal::BadCode { attempts_left } | Refusal::WrongCode { attempts_left } => {
                object.number("attempts_left", attempts_left.into());
            }
            Refusal::Locked { retry_in: Some(retry_in) } => object.secs("retry_in_s", retry_in),
            Refusal::RateLimited { limit, retry_in } => {
                object.text("limit", limit_word(limit));
                object.secs("retry_in_s", retry_in);
            }
            Refusal::DeliveryFailed(failure) => {
                object.flag("temporary", failure.temporary);
                if let Some(smtp) = failure.smtp {
                    object.number("smtp", smtp.into());
                }
            }
            _ => {}
        }
        object.end();
        word
    }

    /// The line can't be taken. Gives back the word, to be counted.
    pub fn faulty(self, fault: &Fault, line: u64) -> Word {
        match fault {
            Fault::BadJson => {
                self.bad_line(Word::BadJson, "the line is not one JSON object in UTF-8", line)
            }
            Fault::UnknownCommand => {
                self.no(Word::UnknownCommand, "there is no such command; `help` lists them").end();
                Word::UnknownCommand
            }
            Fault::BadField { field, why } => {
                let what = match why {
                    FieldFault::Missing => "is missing",
                    FieldFault::Unknown => "is not a field of this command",
                    FieldFault::Doubled => "is there more than once",
                    FieldFault::Invalid => "is of a wrong type or out of bounds",
                };
                let mut object = self.no(Word::BadField, &format!("`{field}` {what}"));
                object.text("field", field);
                object.end();
                Word::BadField
            }
            Fault::BadAddress => {
                self.no(Word::BadAddress, "this is not an address that mail can be sent to").end();
                Word::BadAddress
            }
        }
    }

    /// The line is too long. Gives back the word, to be counted.
    pub fn too_long(self, line: u64) -> Word {
        self.bad_line(Word::LineTooLong, "the line is over 65,536 bytes; it was skipped", line)
    }

    /// The request was not begun before the end. Gives back the word, to be counted.
    pub fn shutting_down(self) -> Word {
        self.no(Word::ShuttingDown, "the daemon is ending; this was not begun").end();
        Word::ShuttingDown
    }

    fn bad_line(self, word: Word, message: &str, line: u64) -> Word {
        let mut object = self.no(word, message);
        object.number("line", line);
        object.end();
        word
    }

    fn yes(self) -> Object<'o> {
        self.begin(b"{\"ok\":true")
    }

    fn no(self, word: Word, message: &str) -> Object<'o> {
        let mut object = self.begin(b"{\"ok\":false");
        object.text("error", word.name());
        object.text("message", message);
        object
    }

    fn begin(self, ok: &[u8]) -> Object<'o> {
        self.out.extend_from_slice(ok);
        let mut object = Object::after_first(self.out);
        if let Some(id) = self.id {
            object.raw("id", id.as_json());
        }
        object
    }
}

fn command_fields(command: &Command, object: &mut Object<'_>) {
    object.text("about", command.about);
    object.group("fields", |group| {
        for field in command.fields {
            group.text(field.name, &format!("{}: {}", field.form, field.about));
        }
    });
    object.texts("reply", command.reply);
}

const fn delivery_word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Sent => "sent",
        Delivery::Uncertain => "uncertain",
    }
}

const fn state_word(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Verified => "verified",
        State::Expired => "expired",
        State::AttemptsUsed => "attempts_used",
        State::Cancelled => "cancelled",
        State::Void => "void",
    }
}

const fn limit_word(limit: Limit) -> &'static str {
    match limit {
        Limit::Cooldown => "cooldown",
        Limit::AddressHour => "address_hour",
        Limit::AddressDay => "address_day",
        Limit::LiveSessions => "live_sessions",
        Limit::ClientHour => "client_hour",
    }
}

const fn refusal_words(refusal: &Refusal) -> (Word, &'static str) {
    match refusal {
        Refusal::BadCode { .. } => {
            (Word::BadCode, "this has not the right number of digits; it was not counted")
        }
        Refusal::WrongCode { attempts_left: 0 } => {
            (Word::WrongCode, "the code is wrong, and this was the last attempt")
        }
        Refusal::WrongCode { .. } => (Word::WrongCode, "the code is wrong"),
        Refusal::WrongPurpose => (Word::WrongPurpose, "the code was issued for another purpose"),
        Refusal::NoSession => (Word::NoSession, "there is no such session, or not any more"),
        Refusal::Expired => (Word::Expired, "the code is too old; ask for a new one"),
        Refusal::AlreadyUsed => (Word::AlreadyUsed, "the code was used before"),
        Refusal::Cancelled => (Word::Cancelled, "the session was cancelled"),
        Refusal::AttemptsUsed => {
            (Word::AttemptsUsed, "this code had its wrong attempts; ask for a new one")
        }
        Refusal::Locked { retry_in: Some(_) } => {
            (Word::Locked, "too many wrong codes for this address; try again later")
        }
        Refusal::Locked { retry_in: None } => {
            (Word::Locked, "too many wrong codes for this address; an operator must unlock it")
        }
        Refusal::RateLimited { .. } => (Word::RateLimited, "too many mails were asked for"),
        Refusal::AtCapacity => (Word::AtCapacity, "there is no room for another session"),
        Refusal::DeliveryFailed(_) => (Word::DeliveryFailed, "the mail could not be delivered"),
        Refusal::Internal => (Word::Internal, "the operating system gives no random bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Failure, Id};

    fn line(write: impl FnOnce(Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(Reply::to(None, &mut out));
        String::from_utf8(out).expect("UTF-8")
    }

    fn refused(refusal: Refusal) -> String {
        line(|reply| {
            reply.refused(&refusal);
        })
    }

    #[test]
    fn every_ok_reply_has_its_exact_shape() {
        let session = Id::test("0123456789ABCDEFGHIJKLMNOPQRSTUV");
        let mailed = Mailed {
            session,
            to: "ann@example.org",
            delivery: Delivery::Sent,
            expires_in: Duration::from_millis(599_001),
            resend_in: Duration::from_secs(60),
            attempts_left: 5,
        };
        let id = session.as_str();
        assert_eq!(
            line(|reply| reply.mailed(&mailed, "outbox", Some("./a \"b\"/c.eml"))),
            format!(
                r#"{{"ok":true,"session":"{id}","to":"ann@example.org","delivery":"sent","via":"outbox","file":"./a \"b\"/c.eml","expires_in_s":600,"resend_in_s":60,"attempts_left":5}}"#
            ) + "\n"
        );
        assert_eq!(
            line(|reply| reply.mailed(
                &Mailed { delivery: Delivery::Uncertain, ..mailed },
                "smtp",
                None
            )),
            format!(
                r#"{{"ok":true,"session":"{id}","to":"ann@example.org","delivery":"uncertain","via":"smtp","expires_in_s":600,"resend_in_s":60,"attempts_left":5}}"#
            ) + "\n"
        );
        let verified =
            Verified { to: "a@x.org", purpose: Some("log \"in\""), data: Some(r#"{"a": 1.0}"#) };
        assert_eq!(
            line(|reply| reply.verified("S", &verified)),
            "{\"ok\":true,\"session\":\"S\",\"to\":\"a@x.org\",\"purpose\":\"log \\\"in\\\"\",\"data\":{\"a\": 1.0}}\n"
        );
        let verified = Verified { to: "a@x.org", purpose: None, data: None };
        assert_eq!(
            line(|reply| reply.verified("S", &verified)),
            "{\"ok\":true,\"session\":\"S\",\"to\":\"a@x.org\"}\n"
        );
        assert_eq!(line(|reply| reply.cancelled("S")), "{\"ok\":true,\"session\":\"S\"}\n");
        assert_eq!(line(|reply| reply.unlocked("a@x.org")), "{\"ok\":true,\"to\":\"a@x.org\"}\n");
        assert_eq!(
            line(|reply| reply.advanced(Duration::from_secs(7))),
            "{\"ok\":true,\"now_s\":7}\n"
        );
        let standing = Standing {
            state: State::Pending,
            delivery: Delivery::Sent,
            expires_in: Duration::from_millis(587_500),
            resend_in: Duration::ZERO,
            attempts_left: 4,
        };
        assert_eq!(
            line(|reply| reply.standing("S", &standing)),
            "{\"ok\":true,\"session\":\"S\",\"state\":\"pending\",\"delivery\":\"sent\",\"expires_in_s\":588,\"resend_in_s\":0,\"attempts_left\":4}\n"
        );
    }

    #[test]
    fn every_refusal_has_its_exact_fields() {
        let tail = |refusal| {
            let line = refused(refusal);
            let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(json["ok"], false);
            assert!(line.starts_with("{\"ok\":false,\"error\":\"") && line.ends_with("}\n"));
            let message = json["message"].as_str().expect("a message");
            let tail = line.split_once(&format!("\"message\":\"{message}\"")).expect("a tail").1;
            format!("{}{}", json["error"].as_str().expect("a word"), tail.trim_end())
        };
        let secs = Duration::from_secs;
        assert_eq!(tail(Refusal::BadCode { attempts_left: 3 }), r#"bad_code,"attempts_left":3}"#);
        assert_eq!(
            tail(Refusal::WrongCode { attempts_left: 0 }),
            r#"wrong_code,"attempts_left":0}"#
        );
        assert_eq!(tail(Refusal::WrongPurpose), "wrong_purpose}");
        assert_eq!(tail(Refusal::NoSession), "no_session}");
        assert_eq!(tail(Refusal::Expired), "expired}");
        assert_eq!(tail(Refusal::AlreadyUsed), "already_used}");
        assert_eq!(tail(Refusal::Cancelled), "cancelled}");
        assert_eq!(tail(Refusal::AttemptsUsed), "attempts_used}");
        assert_eq!(tail(Refusal::Locked { retry_in: None }), "locked}");
        assert_eq!(tail(Refusal::Locked { retry_in: Some(secs(9)) }), r#"locked,"retry_in_s":9}"#);
        for (limit, word) in [
            (Limit::Cooldown, "cooldown"),
            (Limit::AddressHour, "address_hour"),
            (Limit::AddressDay, "address_day"),
            (Limit::LiveSessions, "live_sessions"),
            (Limit::ClientHour, "client_hour"),
        ] {
            assert_eq!(
                tail(Refusal::RateLimited { limit, retry_in: Duration::from_millis(1) }),
                format!(r#"rate_limited,"limit":"{word}","retry_in_s":1}}"#)
            );
        }
        assert_eq!(tail(Refusal::AtCapacity), "at_capacity}");
        let failure = Failure { temporary: true, smtp: Some(451) };
        assert_eq!(
            tail(Refusal::DeliveryFailed(failure)),
            r#"delivery_failed,"temporary":true,"smtp":451}"#
        );
        let failure = Failure { temporary: false, smtp: None };
        assert_eq!(tail(Refusal::DeliveryFailed(failure)), r#"delivery_failed,"temporary":false}"#);
        assert_eq!(tail(Refusal::Internal), "internal}");
    }

    #[test]
    fn every_fault_has_its_exact_fields() {
        let told = |fault: Fault| {
            line(|reply| {
                reply.faulty(&fault, 12);
            })
        };
        assert_eq!(
            told(Fault::BadJson),
            "{\"ok\":false,\"error\":\"bad_json\",\"message\":\"the line is not one JSON object in UTF-8\",\"line\":12}\n"
        );
        assert_eq!(
            told(Fault::BadField { field: "a\"b".into(), why: FieldFault::Unknown }),
            "{\"ok\":false,\"error\":\"bad_field\",\"message\":\"`a\\\"b` is not a field of this command\",\"field\":\"a\\\"b\"}\n"
        );
        assert!(told(Fault::UnknownCommand).contains("\"error\":\"unknown_command\""));
        assert!(told(Fault::BadAddress).contains("\"error\":\"bad_address\""));
        assert!(
            line(|reply| {
                reply.too_long(3);
            })
            .ends_with(",\"line\":3}\n")
        );
        assert!(
            line(|reply| {
                reply.shutting_down();
            })
            .contains("\"error\":\"shutting_down\"")
        );
    }

    #[test]
    fn an_id_comes_right_after_ok_as_it_was_written() {
        let mut out = Vec::new();
        Reply::to(Some(RequestId::from_kept("\"a\\u0062\"")), &mut out).cancelled("S");
        assert_eq!(out, b"{\"ok\":true,\"id\":\"a\\u0062\",\"session\":\"S\"}\n");
    }
}
