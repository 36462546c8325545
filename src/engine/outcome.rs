//! What the engine is asked and what it answers.

use std::time::Duration;

use super::code::{Name, SealedCode};
use super::session::{Extras, Id, State, Tag};
use super::table::Slot;
use crate::address::Address;
use crate::clock::Moment;

/// Why something was not done. One word of the contract each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not the right number of digits; not counted.
    BadCode {
        /// Wrong attempts left for this code.
        attempts_left: u8,
    },
    /// A wrong code; counted.
    WrongCode {
        /// Wrong attempts left for this code.
        attempts_left: u8,
    },
    /// Issued for another purpose; neither counted nor compared.
    WrongPurpose,
    /// Never issued, or forgotten.
    NoSession,
    /// Too late.
    Expired,
    /// Verified before.
    AlreadyUsed,
    /// Cancelled before.
    Cancelled,
    /// The code had its wrong attempts.
    AttemptsUsed,
    /// Too many wrong codes for this address.
    Locked {
        /// How long the lock lasts; none if only an operator can open it.
        retry_in: Option<Duration>,
    },
    /// Too many mails asked for.
    RateLimited {
        /// The limit with the longest wait.
        limit: Limit,
        /// That wait.
        retry_in: Duration,
    },
    /// A table is full, and nothing is evicted to make room.
    AtCapacity,
    /// The mail was refused or could not be handed over.
    DeliveryFailed(Failure),
    /// The operating system gives no random bytes.
    Internal,
}

/// The limits of [`Refusal::RateLimited`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The time between two mails to an address.
    Cooldown,
    /// Mails to an address in an hour.
    AddressHour,
    /// Mails to an address in a day.
    AddressDay,
    /// Live sessions of an address.
    LiveSessions,
    /// Issues of a client in an hour.
    ClientHour,
}

/// What is known of a mail that was not certainly refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// It was wholly handed over and no valid answer came: it may have arrived.
    #[default]
    Uncertain,
    /// It was accepted.
    Sent,
}

/// A mail that certainly failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether trying later may help.
    pub temporary: bool,
    /// The number of the server's reply, if one decided it.
    pub smtp: Option<u16>,
}

/// What `issue` is asked.
#[derive(Debug)]
pub struct Issue<'a> {
    /// Whom to mail.
    pub to: Address,
    /// Life of this code, no longer than the policy's; none for the policy's.
    pub ttl: Option<Duration>,
    /// Whoever asked: an additional budget.
    pub client: Option<&'a str>,
    /// The rest, if there is any.
    pub extras: Option<Box<Extras>>,
}

/// A letter to be written and sent; [`delivered`](super::Engine::delivered) must be told how it fared.
#[derive(Debug)]
pub struct Letter<'e> {
    /// The address as mail is sent to it.
    pub to: &'e str,
    /// The code to send.
    pub code: SealedCode<'e>,
    /// How long the code still lives.
    pub life: Duration,
    /// What it is for, in which language, and the template's values.
    pub extras: Option<&'e Extras>,
    /// What to tell the engine with the outcome.
    pub ticket: Ticket,
}

/// Which session's mail is on its way, and what was spent on it.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub(super) slot: Slot,
    pub(super) tag: Tag,
    pub(super) spent_at: Moment,
    pub(super) client: Option<Name>,
    pub(super) is_first: bool,
}

impl Ticket {
    /// Whether this is the first mail of its session, so that its failure ends it.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.is_first
    }
}

/// A code was mailed.
#[derive(Debug)]
pub struct Mailed<'e> {
    /// The session's id.
    pub session: Id,
    /// The address as mail was sent to it.
    pub to: &'e str,
    /// What is known of the mail.
    pub delivery: Delivery,
    /// How long the code still lives.
    pub expires_in: Duration,
    /// How long until it can be sent again.
    pub resend_in: Duration,
    /// Wrong attempts left.
    pub attempts_left: u8,
}

/// The code was right.
#[derive(Debug)]
pub struct Verified<'e> {
    /// The address that is verified.
    pub to: &'e str,
    /// What for.
    pub purpose: Option<&'e str>,
    /// The caller's own JSON.
    pub data: Option<&'e str>,
}

/// How a session stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its state; never [`State::Void`].
    pub state: State,
    /// What is known of its mail.
    pub delivery: Delivery,
    /// How long its code still lives; zero once it has ended.
    pub expires_in: Duration,
    /// How long until it can be sent again; zero once it has ended.
    pub resend_in: Duration,
    /// Wrong attempts left.
    pub attempts_left: u8,
}
