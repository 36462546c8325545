//! The engine and the mail together: what is decided is written and carried, and the engine is told
//! how that went. [`serve`](crate::serve) speaks with programs over one of these.

use std::collections::HashMap;
use std::rc::Rc;

use crate::address::mask;
use crate::clock::{Clock, Moment, NoRandomness, Random};
use crate::engine::policy::Policy;
use crate::engine::{Engine, Failure, Issue, Letter, Mailed, Refusal, Ticket};
use crate::mail::compose::{Composer, Sender, Unwritten};
use crate::mail::post::{Number, Outcome, Post};
use crate::mail::{Carrier, DeliveryError, Receipt};
use crate::simulate::StoppedClock;

/// Decides and has mail sent.
pub struct Service {
    /// The rules, and what they are about.
    pub engine: Engine,
    composer: Composer,
    outside: Outside,
    under_way: HashMap<Number, Asked>,
}

/// What a service is handed: time, chance, and a way to send mail.
#[derive(Debug)]
pub struct Outside {
    /// Tells the time.
    pub clock: Rc<dyn Clock>,
    /// Gives bytes.
    pub random: Box<dyn Random>,
    /// Carries messages.
    pub carrier: Carrier,
    /// The clock once more, if `advance` may move it.
    pub simulated: Option<StoppedClock>,
}

/// A mail that was asked for.
#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    masked_to: String,
}

/// A mail that was asked for and has fared somehow, or not yet.
#[derive(Debug)]
pub enum Mail {
    /// It has.
    Fared(Fared),
    /// It will, under this number.
    UnderWay(Number),
}

/// How a mail fared. The engine has yet to be [told](Service::settle).
#[derive(Debug)]
pub struct Fared {
    asked: Asked,
    outcome: Result<Receipt, Lost>,
}

/// Why a mail certainly did not go out.
#[derive(Debug)]
enum Lost {
    NoRandomness,
    Undelivered(DeliveryError),
}

/// What the operator should know of a mail.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// It certainly failed.
    Failed {
        /// Whether trying later may help.
        temporary: bool,
        /// Why.
        reason: &'a str,
    },
    /// It may have arrived or not.
    Uncertain {
        /// Why nobody knows.
        reason: &'a str,
    },
}

impl Fared {
    /// Whom the mail was to, masked.
    #[must_use]
    pub fn masked_to(&self) -> &str {
        &self.asked.masked_to
    }

    /// Whether it was the first of its session.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.asked.ticket.is_first()
    }

    /// What the operator should know, if it is anything.
    #[must_use]
    pub fn news(&self) -> Option<News<'_>> {
        match &self.outcome {
            Ok(receipt) => receipt.doubt.as_deref().map(|reason| News::Uncertain { reason }),
            Err(Lost::Undelivered(DeliveryError { failure, reason })) => {
                Some(News::Failed { temporary: failure.temporary, reason })
            }
            Err(Lost::NoRandomness) => None,
        }
    }
}

impl Service {
    /// A service for mails of `sender`.
    ///
    /// # Errors
    /// [`NoRandomness`] when there is none for a key.
    pub fn new(policy: Policy, sender: Sender, mut outside: Outside) -> Result<Self, NoRandomness> {
        let engine = Engine::new(policy, &mut *outside.random)?;
        let composer = Composer::new(sender, &mut *outside.random)?;
        Ok(Self { engine, composer, outside, under_way: HashMap::new() })
    }

    /// Makes a session and mails its code.
    ///
    /// # Errors
    /// [`Refusal`], without a mail.
    pub fn issue(&mut self, issue: Issue<'_>) -> Result<Mail, Refusal> {
        let now = self.now();
        let letter = self.engine.issue(issue, now, &mut *self.outside.random)?;
        let (asked, sent) = send(&letter, &mut self.composer, &mut self.outside);
        Ok(self.asked(asked, sent))
    }

    /// Mails the code of a session again.
    ///
    /// # Errors
    /// [`Refusal`], without a mail.
    pub fn resend(&mut self, session: &str) -> Result<Mail, Refusal> {
        let now = self.now();
        let letter = self.engine.resend(session, now)?;
        let (asked, sent) = send(&letter, &mut self.composer, &mut self.outside);
        Ok(self.asked(asked, sent))
    }

    fn asked(&mut self, asked: Asked, sent: Result<Sent, Lost>) -> Mail {
        let outcome = match sent {
            Ok(Sent::UnderWay(number)) => {
                self.under_way.insert(number, asked);
                return Mail::UnderWay(number);
            }
            Ok(Sent::Done(receipt)) => Ok(receipt),
            Err(lost) => Err(lost),
        };
        Mail::Fared(Fared { asked, outcome })
    }

    /// A mail that was under way and has fared somehow.
    pub fn arrived(&mut self) -> Option<(Number, Fared)> {
        let now = self.now();
        loop {
            let (number, outcome) = self.outside.carrier.post_mut()?.take(now)?;
            // One that was given up has no place here any more.
            if let Some(fared) = self.fared(number, outcome) {
                return Some((number, fared));
            }
        }
    }

    /// Doesn't wait for a mail any longer. None if it was taken back before it was handed over, as
    /// if it had never been asked for; otherwise nobody knows.
    pub fn give_up(&mut self, number: Number) -> Option<Fared> {
        let post = self.outside.carrier.post_mut();
        if !post.is_some_and(|post| post.withdraw(number)) {
            return self.fared(number, Ok(Receipt::uncertain("the end came before an answer")));
        }
        let asked = self.under_way.remove(&number)?;
        let failure = Failure { temporary: true, smtp: None };
        let _ = self.engine.delivered(&asked.ticket, Err(failure), self.now());
        None
    }

    fn fared(&mut self, number: Number, outcome: Outcome) -> Option<Fared> {
        let asked = self.under_way.remove(&number)?;
        Some(Fared { asked, outcome: outcome.map_err(Lost::Undelivered) })
    }

    /// Tells the engine how a mail fared, and what follows from that: the session as it stands now,
    /// and the file of the message if it is one.
    ///
    /// # Errors
    /// [`Refusal`]: the mail certainly failed, or there is no such session any more.
    pub fn settle(&mut self, fared: Fared) -> Result<(Mailed<'_>, Option<String>), Refusal> {
        let now = self.now();
        let ticket = fared.asked.ticket;
        let (failure, refusal) = match fared.outcome {
            Ok(receipt) => {
                let mailed = self.engine.delivered(&ticket, Ok(receipt.delivery), now)?;
                return Ok((mailed, receipt.file));
            }
            Err(Lost::NoRandomness) => (Failure { temporary: true, smtp: None }, Refusal::Internal),
            Err(Lost::Undelivered(DeliveryError { failure, .. })) => {
                (failure, Refusal::DeliveryFailed(failure))
            }
        };
        let _ = self.engine.delivered(&ticket, Err(failure), now);
        Err(refusal)
    }

    /// The numbers of the mails that are under way, in their order.
    #[must_use]
    pub fn under_way(&self) -> Vec<Number> {
        let mut numbers: Vec<Number> = self.under_way.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Whether no mail is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The threads that carry mail, if there are any.
    #[must_use]
    pub const fn post(&self) -> Option<&Post> {
        self.outside.carrier.post()
    }

    /// The name of the transport in replies.
    #[must_use]
    pub fn via(&self) -> &'static str {
        self.outside.carrier.via()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.outside.clock.now()
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.outside.clock
    }

    /// The clock, if `advance` may move it.
    #[must_use]
    pub const fn simulated(&self) -> Option<&StoppedClock> {
        self.outside.simulated.as_ref()
    }
}

/// A message that was given away.
enum Sent {
    Done(Receipt),
    UnderWay(Number),
}

/// Writes a letter's message and hands it to whoever carries it.
fn send(
    letter: &Letter<'_>,
    composer: &mut Composer,
    outside: &mut Outside,
) -> (Asked, Result<Sent, Lost>) {
    let asked = Asked { ticket: letter.ticket, masked_to: mask(letter.to) };
    let message = match composer.compose(letter, &*outside.clock, &mut *outside.random) {
        Ok(message) => message,
        Err(Unwritten::NoRandomness) => return (asked, Err(Lost::NoRandomness)),
        // The same values would fail again.
        Err(Unwritten::Template(reason)) => {
            let err = DeliveryError::without_reply(false, reason);
            return (asked, Err(Lost::Undelivered(err)));
        }
    };
    let sent = match &mut outside.carrier {
        Carrier::Here(transport) => transport.carry(&message).map(Sent::Done),
        Carrier::Away(post) => post.send(message, outside.clock.now()).map(Sent::UnderWay),
    };
    (asked, sent.map_err(Lost::Undelivered))
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("outside", &self.outside).finish_non_exhaustive()
    }
}
