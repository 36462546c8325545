//! The wire: a line becomes a [`Request`], an outcome becomes a line. The only place that knows JSON.
//!
//! [`parse`] reads (by `fields`), after a [`peek`]; [`reply`] writes (by [`json`], and [`status`] for
//! the daemon's own); [`help`] is the table of commands, fields and error words from which `help` is
//! answered, `otpd help` printed and the README checked.

mod fields;
pub mod help;
pub mod json;
pub mod parse;
pub mod peek;
pub mod reply;
pub mod status;

use std::borrow::Cow;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::address::Address;
use crate::engine::Extras;
use help::Topic;

/// The number of this protocol. Within one number there are only additions.
pub const PROTOCOL: u32 = 1;
/// Longest line, in bytes, with its LF.
pub const LINE_MAX: usize = 65_536;
/// Longest `id` that is a string, in bytes.
pub const ID_MAX: usize = 128;
/// Largest `id` that is an integer, either way: every language's floating point can hold it.
pub const ID_INTEGER_MAX: i64 = 1 << 53;
/// Longest `purpose`, in bytes.
pub const PURPOSE_MAX: usize = 64;
/// Longest `locale`, in bytes.
pub const LOCALE_MAX: usize = 64;
/// Longest `client`, in bytes.
pub const CLIENT_MAX: usize = 128;
/// Longest `data`, in bytes as written.
pub const DATA_MAX: usize = 1_024;
/// Deepest `data`, in levels of arrays and objects.
pub const DATA_DEPTH_MAX: usize = 64;
/// Most `vars`.
pub const VARS_MAX: usize = 16;
/// Longest value of `vars`, in bytes.
pub const VAR_MAX: usize = 256;
/// Longest name of `vars`, in bytes.
pub const VAR_NAME_MAX: usize = 64;
/// Farthest `advance`, in seconds: a year.
pub const ADVANCE_MAX: u64 = 31_536_000;
/// Longest name of an unknown field that is given back, in bytes.
pub const FIELD_NAME_MAX: usize = 64;

/// What a line asks.
#[derive(Debug)]
pub enum Request<'a> {
    /// Make a session and mail its code.
    Issue {
        /// Whom to mail.
        to: Address,
        /// Life of this code.
        ttl: Option<Duration>,
        /// Whoever asked.
        client: Option<Cow<'a, str>>,
        /// Purpose, locale, data and vars, if any was given.
        extras: Option<Box<Extras>>,
    },
    /// Grant or deny.
    Verify {
        /// The session's id.
        session: Cow<'a, str>,
        /// What was typed.
        code: Typed<'a>,
        /// What it was typed for.
        purpose: Option<Cow<'a, str>>,
    },
    /// Mail the same code again.
    Resend {
        /// The session's id.
        session: Cow<'a, str>,
    },
    /// End a session.
    Cancel {
        /// The session's id.
        session: Cow<'a, str>,
    },
    /// Tell how a session, or the daemon, stands.
    Status {
        /// The session's id; none for the daemon.
        session: Option<Cow<'a, str>>,
    },
    /// Clear an address's failures and budgets.
    Unlock {
        /// Whose.
        to: Address,
    },
    /// List commands, fields and errors.
    Help {
        /// One of them.
        about: Option<Topic>,
    },
    /// Move the simulated clock.
    Advance {
        /// How far, in seconds.
        seconds: u64,
    },
}

/// What somebody typed as a code. A copy of it is wiped when dropped, the input it lies in with the
/// rest of that. It can't be printed.
pub enum Typed<'a> {
    /// As it stands in the input.
    InPlace(&'a str),
    /// With its escapes resolved.
    Copied(Zeroizing<String>),
}

impl Typed<'_> {
    /// The text as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::InPlace(text) => text,
            Self::Copied(text) => text,
        }
    }
}

impl std::fmt::Debug for Typed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Typed([redacted])")
    }
}

/// An `id` as it was written, to be given back unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId<'a>(&'a str);

impl<'a> RequestId<'a> {
    /// Its JSON text.
    #[must_use]
    pub const fn as_json(self) -> &'a str {
        self.0
    }

    /// An id whose JSON text was kept from an earlier [`RequestId::as_json`].
    #[must_use]
    pub const fn from_kept(json: &'a str) -> Self {
        Self(json)
    }
}

/// What is wrong with a line. None of it repeats a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not one JSON object in UTF-8.
    BadJson,
    /// `cmd` is not known.
    UnknownCommand,
    /// A field can't be taken.
    BadField {
        /// Its name, cut to [`FIELD_NAME_MAX`] bytes.
        field: Cow<'static, str>,
        /// What is wrong with it.
        why: FieldFault,
    },
    /// Not an address mail can be sent to.
    BadAddress,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldFault {
    /// It is required.
    Missing,
    /// The command has no such field.
    Unknown,
    /// It is there more than once.
    Doubled,
    /// It is of a wrong type or out of bounds.
    Invalid,
}

/// Error words, in the order of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`help::ERRORS` says when each is answered")]
pub enum Word {
    BadJson,
    LineTooLong,
    UnknownCommand,
    BadField,
    BadAddress,
    BadCode,
    WrongCode,
    WrongPurpose,
    NoSession,
    Expired,
    AlreadyUsed,
    Cancelled,
    AttemptsUsed,
    Locked,
    RateLimited,
    AtCapacity,
    DeliveryFailed,
    ShuttingDown,
    Internal,
}
