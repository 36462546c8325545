//! A line in, a reply line out.

use std::rc::Rc;
use std::time::Duration;

use crate::address::mask;
use crate::clock::{Clock, Moment, NoRandomness, Random};
use crate::engine::Guess;
use crate::engine::policy::Policy;
use crate::engine::{Engine, Failure, Issue, Letter, Refusal, Ticket};
use crate::log::{Event, Level, Log};
use crate::mail::compose::{Composer, Sender};
use crate::mail::{Receipt, Transport};
use crate::protocol::parse::{Terms, parse};
use crate::protocol::reply::Reply;
use crate::protocol::status::{Daemon, Tally};
use crate::protocol::{Request, Word};
use crate::simulate::StoppedClock;

use super::replies::REPLIES_MAX;

/// Where commands are carried out: the engine, the mail, and what both are handed.
pub struct Desk {
    engine: Engine,
    composer: Composer,
    outside: Outside,
    tally: Tally,
    log: Log,
}

/// What the desk is handed: time, chance, and a way to send mail.
pub struct Outside {
    /// Tells the time.
    pub clock: Rc<dyn Clock>,
    /// Gives bytes.
    pub random: Box<dyn Random>,
    /// Carries messages.
    pub transport: Box<dyn Transport>,
    /// The clock once more, if `advance` may move it.
    pub simulated: Option<StoppedClock>,
}

impl Desk {
    /// Opens a desk.
    ///
    /// # Errors
    /// [`NoRandomness`] when there is none for a key.
    pub fn new(
        policy: Policy,
        sender: Sender,
        mut outside: Outside,
        log: Log,
    ) -> Result<Self, NoRandomness> {
        let engine = Engine::new(policy, &mut *outside.random)?;
        let composer = Composer::new(sender, &mut *outside.random)?;
        Ok(Self { engine, composer, outside, tally: Tally::default(), log })
    }

    /// Carries out one line and writes its reply; a line of blanks has none.
    pub fn line(&mut self, line: &[u8], number: u64, out: &mut Vec<u8>) {
        if is_blank(line) {
            return;
        }
        let parsed = parse(line, &self.terms());
        let reply = Reply::to(parsed.id, out);
        match parsed.request {
            Ok(request) => self.carry_out(request, reply),
            Err(fault) => {
                let word = reply.faulty(&fault, number);
                self.count(word);
            }
        }
    }

    /// Answers a line that is too long. Its `id` is given back if it stood near the beginning.
    pub fn too_long(&mut self, start: &[u8], number: u64, out: &mut Vec<u8>) {
        let parsed = parse(start, &self.terms());
        let word = Reply::to(parsed.id, out).too_long(number);
        self.count(word);
    }

    /// Answers a line that can't be begun any more.
    pub fn shut(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if is_blank(line) {
            return;
        }
        let parsed = parse(line, &self.terms());
        let word = Reply::to(parsed.id, out).shutting_down();
        self.count(word);
    }

    /// Forgets what is due, about `most` records of each kind.
    pub fn tidy(&mut self, most: usize) {
        self.engine.tidy(self.outside.clock.now(), most);
    }

    /// Whether nothing is kept that time could change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.engine.is_empty()
    }

    /// Tells the operator.
    pub fn tell(&mut self, event: &Event<'_>) {
        self.log.event(event, self.outside.clock.now(), self.outside.clock.wall());
    }

    /// Tells the operator that everything was done.
    pub fn tell_end(&mut self) {
        let (issued, verified) = (self.tally.issued, self.tally.verified);
        self.tell(&Event::Ended { issued, verified });
    }

    /// The name of the transport.
    #[must_use]
    pub fn via(&self) -> &'static str {
        self.outside.transport.via()
    }

    fn terms(&self) -> Terms {
        Terms { ttl: self.engine.policy().ttl, simulated: self.outside.simulated.is_some() }
    }

    fn carry_out(&mut self, request: Request<'_>, reply: Reply<'_>) {
        let now = self.outside.clock.now();
        match request {
            Request::Issue { to, ttl, client, extras } => {
                let issue = Issue { to, ttl, client: client.as_deref(), extras };
                let letter = self.engine.issue(issue, now, &mut *self.outside.random);
                let sent =
                    letter.map(|letter| post(&letter, &mut self.composer, &mut self.outside));
                self.posted(sent, reply);
            }
            Request::Resend { session } => {
                let letter = self.engine.resend(&session, now);
                let sent =
                    letter.map(|letter| post(&letter, &mut self.composer, &mut self.outside));
                self.posted(sent, reply);
            }
            Request::Verify { session, code, purpose } => {
                let guess = Guess { code: code.as_str(), purpose: purpose.as_deref() };
                match self.engine.verify(&session, &guess, now) {
                    Ok(verified) => {
                        reply.verified(&session, &verified);
                        self.tally.verified += 1;
                        self.tell_ok();
                    }
                    Err(refusal) => self.refused(&refusal, reply),
                }
            }
            Request::Cancel { session } => match self.engine.cancel(&session, now) {
                Ok(()) => {
                    reply.cancelled(&session);
                    self.tally.cancelled += 1;
                    self.tell_ok();
                }
                Err(refusal) => self.refused(&refusal, reply),
            },
            Request::Status { session: Some(session) } => match self.engine.standing(&session, now)
            {
                Ok(standing) => reply.standing(&session, &standing),
                Err(refusal) => self.refused(&refusal, reply),
            },
            Request::Status { session: None } => self.daemon(now, reply),
            Request::Unlock { to } => {
                self.engine.unlock(&to);
                reply.unlocked(to.as_str());
            }
            Request::Help { about } => reply.help(about),
            Request::Advance { seconds } => {
                if let Some(world) = &self.outside.simulated {
                    world.advance(Duration::from_secs(seconds));
                }
                reply.advanced(Moment::START.until(self.outside.clock.now()));
            }
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|b| matches!(b, b' ' | b'\t'))
}

/// How a letter fared.
struct Posted {
    ticket: Ticket,
    outcome: Result<Receipt, Lost>,
}

/// Why a letter certainly did not go out.
enum Lost {
    Unwritten(NoRandomness),
    Undelivered { failure: Failure, reason: String, masked_to: String },
}

/// Writes a letter's message and has it carried.
fn post(letter: &Letter<'_>, composer: &mut Composer, outside: &mut Outside) -> Posted {
    let written = composer.compose(letter, &*outside.clock, &mut *outside.random);
    let outcome = written.map_err(Lost::Unwritten).and_then(|message| {
        outside.transport.carry(&message).map_err(|err| Lost::Undelivered {
            failure: err.failure,
            reason: err.reason,
            masked_to: mask(letter.to),
        })
    });
    Posted { ticket: letter.ticket, outcome }
}

impl Desk {
    fn posted(&mut self, sent: Result<Posted, Refusal>, reply: Reply<'_>) {
        let Posted { ticket, outcome } = match sent {
            Ok(posted) => posted,
            Err(refusal) => return self.refused(&refusal, reply),
        };
        let now = self.outside.clock.now();
        match outcome {
            Ok(receipt) => match self.engine.delivered(&ticket, Ok(receipt.delivery), now) {
                Ok(mailed) => {
                    let via = self.outside.transport.via();
                    reply.mailed(&mailed, via, receipt.file.as_deref());
                    let count = if ticket.is_first() {
                        &mut self.tally.issued
                    } else {
                        &mut self.tally.resent
                    };
                    *count += 1;
                    self.tell_ok();
                }
                Err(refusal) => self.refused(&refusal, reply),
            },
            Err(Lost::Unwritten(NoRandomness)) => {
                let failure = Failure { temporary: true, smtp: None };
                let _ = self.engine.delivered(&ticket, Err(failure), now);
                self.refused(&Refusal::Internal, reply);
            }
            Err(Lost::Undelivered { failure, reason, masked_to }) => {
                let _ = self.engine.delivered(&ticket, Err(failure), now);
                self.tell(&Event::MailFailed {
                    to: &masked_to,
                    temporary: failure.temporary,
                    reason: &reason,
                });
                self.refused(&Refusal::DeliveryFailed(failure), reply);
            }
        }
    }

    fn daemon(&mut self, now: Moment, reply: Reply<'_>) {
        let live = self.engine.live(now);
        reply.daemon(&Daemon {
            simulated: self.outside.simulated.is_some(),
            via: self.outside.transport.via(),
            uptime: Moment::START.until(now),
            live,
            queued: 0,
            in_flight: 0,
            replies_max: REPLIES_MAX as u64,
            tally: &self.tally,
            policy: self.engine.policy(),
        });
    }

    fn refused(&mut self, refusal: &Refusal, reply: Reply<'_>) {
        let word = reply.refused(refusal);
        match refusal {
            Refusal::Locked { retry_in } => {
                self.tell(&Event::Locked { for_good: retry_in.is_none() });
            }
            Refusal::AtCapacity => self.tell(&Event::AtCapacity),
            Refusal::Internal => self.tell(&Event::NoRandomness),
            _ => {}
        }
        self.count(word);
    }

    fn count(&mut self, word: Word) {
        self.tally.count(word);
        self.tell_reply(word.name());
    }

    fn tell_ok(&mut self) {
        self.tell_reply("ok");
    }

    fn tell_reply(&mut self, word: &str) {
        if self.log.tells(Level::Debug) {
            self.tell(&Event::Replied { word });
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").field("via", &self.transport.via()).finish_non_exhaustive()
    }
}
