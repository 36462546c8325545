//! From a letter to a message, and the transports that carry it.
//!
//! [`compose`] writes the message of a [`sender`] from a [`form`]. Its words are those of [`text`]
//! or of the operator's [`templates`]; [`subject`] makes them a header. [`outbox`] is the transport
//! for tests and for whoever picks messages up from a directory; [`smtp`] speaks to a relay and
//! [`sendmail`] hands messages to the mail system of this machine, both in threads of their own
//! ([`post`]). The only place that knows the mail library.

pub mod compose;
pub mod form;
pub mod outbox;
pub mod post;
pub mod sender;
pub mod sendmail;
pub mod smtp;
pub mod subject;
pub mod templates;
pub mod text;
pub mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::engine::{Delivery, Failure};
use post::Post;

/// A message, ready to be carried. It holds a code, so it is wiped when dropped and can't be printed.
pub struct Message {
    /// Its one recipient.
    pub to: String,
    /// A random word that stands in its `Message-ID`; for file names and logs.
    pub token: String,
    /// Header and body, every line ended by CRLF.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Leave to hand it over, which whoever carries it takes before the first byte is given away.
    pub leave: Leave,
}

impl Message {
    /// A message that may be handed over.
    #[must_use]
    pub fn new(to: &str, token: &str, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { to: to.to_owned(), token: token.to_owned(), bytes, leave: Leave::default() }
    }
}

/// Leave to hand a message over: either it is taken, or it is withdrawn. Clones are the same leave.
#[derive(Clone, Debug, Default)]
pub struct Leave(Arc<AtomicU8>);

impl Leave {
    const TAKEN: u8 = 1;
    const WITHDRAWN: u8 = 2;

    /// Takes it. False if it was withdrawn.
    #[must_use]
    pub fn take(&self) -> bool {
        self.set(Self::TAKEN)
    }

    /// Withdraws it. False if it was taken.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.set(Self::WITHDRAWN)
    }

    /// Whether it was withdrawn.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Self::WITHDRAWN
    }

    fn set(&self, to: u8) -> bool {
        let was = self.0.compare_exchange(0, to, Ordering::SeqCst, Ordering::SeqCst);
        was.map_or_else(|was| was == to, |_| true)
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({}, [redacted])", self.token)
    }
}

/// A message that was not certainly refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What is known of it.
    pub delivery: Delivery,
    /// Where it lies, if it is a file.
    pub file: Option<String>,
    /// Why nothing certain is known, for the operator.
    pub doubt: Option<String>,
}

impl Receipt {
    /// Of a message that was accepted.
    #[must_use]
    pub const fn sent() -> Self {
        Self { delivery: Delivery::Sent, file: None, doubt: None }
    }

    /// Of a message that may have been accepted.
    #[must_use]
    pub fn uncertain(doubt: impl Into<String>) -> Self {
        Self { delivery: Delivery::Uncertain, file: None, doubt: Some(doubt.into()) }
    }
}

/// A message that certainly failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryError {
    /// What the caller is told.
    pub failure: Failure,
    /// What the operator is told, in the log.
    pub reason: String,
}

impl DeliveryError {
    /// A message that failed without a mail server's word.
    #[must_use]
    pub fn without_reply(temporary: bool, reason: impl Into<String>) -> Self {
        Self { failure: Failure { temporary, smtp: None }, reason: reason.into() }
    }
}

/// Who carries messages.
#[derive(Debug)]
pub enum Carrier {
    /// A transport that is done at once.
    Here(Box<dyn Transport>),
    /// Transports that somebody else's machine may hold up.
    Away(Post),
}

impl Carrier {
    /// The name of the transport in replies.
    #[must_use]
    pub fn via(&self) -> &'static str {
        match self {
            Self::Here(transport) => transport.via(),
            Self::Away(post) => post.via(),
        }
    }

    /// The threads that carry, if there are any.
    #[must_use]
    pub const fn post(&self) -> Option<&Post> {
        match self {
            Self::Here(_) => None,
            Self::Away(post) => Some(post),
        }
    }

    /// As [`Carrier::post`], to be spoken to.
    pub const fn post_mut(&mut self) -> Option<&mut Post> {
        match self {
            Self::Here(_) => None,
            Self::Away(post) => Some(post),
        }
    }
}

/// Carries messages.
pub trait Transport: std::fmt::Debug {
    /// The name of this transport in replies: `outbox`, `smtp`, `sendmail`.
    fn via(&self) -> &'static str;

    /// Carries one message.
    ///
    /// # Errors
    /// [`DeliveryError`] if it certainly failed; anything less certain is a [`Receipt`].
    fn carry(&mut self, message: &Message) -> Result<Receipt, DeliveryError>;

    /// Gives back what is held for the next message and was not used for so long, without waiting
    /// for anybody.
    fn rest(&mut self, unused_for: Duration) {
        let _ = unused_for;
    }
}
