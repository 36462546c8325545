//! Why a message was not accepted, and what follows from that.

use std::fmt;

use super::reply::{NoReply, Reply};
use crate::engine::Failure;

/// Where a conversation stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking up the relay's name.
    LookUp,
    /// Connecting.
    Connect,
    /// The server's first words.
    Greeting,
    /// `EHLO`.
    Hello,
    /// `STARTTLS`, and the handshake.
    Tls,
    /// `AUTH`.
    LogIn,
    /// `MAIL FROM`.
    From,
    /// `RCPT TO`.
    To,
    /// `DATA`.
    Data,
    /// The message, up to the final dot.
    Message,
    /// What the server says to the final dot.
    Answer,
    /// `QUIT`.
    Quit,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LookUp => "look up",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Hello => "hello",
            Self::Tls => "TLS",
            Self::LogIn => "log in",
            Self::From => "sender",
            Self::To => "recipient",
            Self::Data => "data",
            Self::Message => "message",
            Self::Answer => "answer",
            Self::Quit => "good-bye",
        })
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server did not say yes.
    Refused(Reply),
    /// There is no connection, or none any more.
    Lost(String),
    /// The deadline came.
    Late,
    /// The server broke the protocol or could not prove who it is.
    Breach(String),
}

/// A message, or an attempt at one, that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub step: Step,
    /// Why.
    pub cause: Cause,
}

impl Fault {
    /// The relay can't be reached, or not any more.
    #[must_use]
    pub fn lost(step: Step, why: impl Into<String>) -> Self {
        Self { step, cause: Cause::Lost(why.into()) }
    }

    /// The relay broke the protocol.
    #[must_use]
    pub fn breach(step: Step, why: impl Into<String>) -> Self {
        Self { step, cause: Cause::Breach(why.into()) }
    }

    /// The relay did not say yes.
    #[must_use]
    pub const fn refused(step: Step, reply: Reply) -> Self {
        Self { step, cause: Cause::Refused(reply) }
    }

    /// What was received is no reply.
    #[must_use]
    pub fn no_reply(step: Step, NoReply(what): NoReply) -> Self {
        Self::breach(step, format!("the server sent {what}"))
    }

    /// Whether the message may have been accepted all the same: it was handed over, final dot and
    /// all, and nothing that can be read said no.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        matches!(self.step, Step::Answer) && !matches!(self.cause, Cause::Refused(_))
    }

    /// Whether the message may be tried once more. Never after the final dot.
    #[must_use]
    pub fn may_be_retried(&self) -> bool {
        self.step != Step::Answer
            && match &self.cause {
                Cause::Refused(reply) => reply.code / 100 == 4,
                Cause::Lost(_) => true,
                Cause::Late | Cause::Breach(_) => false,
            }
    }

    /// What the caller is told: anything but a temporary no and a lost connection is for good.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match &self.cause {
            Cause::Refused(reply) => {
                Failure { temporary: reply.code / 100 == 4, smtp: Some(reply.code) }
            }
            Cause::Lost(_) | Cause::Late => Failure { temporary: true, smtp: None },
            Cause::Breach(_) => Failure { temporary: false, smtp: None },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reply) => f.write_str(&reply.words()),
            Self::Lost(why) | Self::Breach(why) => f.write_str(why),
            Self::Late => f.write_str("no answer in time"),
        }
    }
}
