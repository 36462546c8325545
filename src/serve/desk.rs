//! A line in, a reply line out: at once, or when the mail that it asked for has fared somehow.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::address::mask;
use crate::clock::{Clock, Moment, NoRandomness, Random};
use crate::engine::policy::Policy;
use crate::engine::{Engine, Failure, Guess, Issue, Letter, Refusal, Ticket};
use crate::log::{Event, Level, Log};
use crate::mail::compose::{Composer, Sender, Unwritten};
use crate::mail::post::{Number, Outcome, Post};
use crate::mail::{Carrier, DeliveryError, Receipt};
use crate::protocol::parse::{Parsed, Terms, parse};
use crate::protocol::reply::Reply;
use crate::protocol::status::{Daemon, Tally};
use crate::protocol::{Request, RequestId, Word};
use crate::simulate::StoppedClock;

use super::replies::REPLIES_MAX;

/// Bytes of lines that wait for an untagged one before them, and of what it costs to keep them.
/// When they are more, no further input is taken.
const HELD_MAX: usize = 16 << 20;

/// What a line costs that waits, besides its text: its place in the queue and its allocation.
const HELD_COST: usize = 96;

/// Where commands are carried out: the engine, the mail, and what both are handed.
pub struct Desk {
    engine: Engine,
    composer: Composer,
    outside: Outside,
    tally: Tally,
    log: Log,
    /// Mails whose outcome has not come.
    under_way: HashMap<Number, UnderWay>,
    /// Whether an untagged command waits for its mail; those behind it wait for its reply.
    is_busy: bool,
    /// Whether those that wait are not begun any more.
    is_closing: bool,
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// What the desk is handed: time, chance, and a way to send mail.
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

/// A mail whose outcome has not come, and who waits for it.
#[derive(Debug)]
struct UnderWay {
    ticket: Ticket,
    id: Option<Box<str>>,
    masked_to: String,
}

/// An untagged line that waits for its turn, and its number.
struct Held {
    number: u64,
    /// None if it was too long to be kept.
    line: Option<Zeroizing<Vec<u8>>>,
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
        Ok(Self {
            engine,
            composer,
            outside,
            tally: Tally::default(),
            log,
            under_way: HashMap::new(),
            is_busy: false,
            is_closing: false,
            held: VecDeque::new(),
            held_bytes: 0,
        })
    }

    /// Carries out one line and writes its reply, if it is not to wait; a line of blanks has none.
    pub fn line(&mut self, line: &[u8], number: u64, out: &mut Vec<u8>) {
        if is_blank(line) {
            return;
        }
        let parsed = parse(line, &self.terms());
        if self.must_wait() && parsed.id.is_none() {
            return self.hold(Some(line), number);
        }
        self.take_up(parsed, number, out);
    }

    /// Carries out the next line that has waited for its turn. False if none may be.
    pub fn next_held(&mut self, out: &mut Vec<u8>) -> bool {
        if self.is_busy {
            return false;
        }
        let Some(Held { number, line }) = self.held.pop_front() else { return false };
        self.held_bytes -= HELD_COST + line.as_ref().map_or(0, |line| line.len());
        match line {
            _ if self.is_closing => self.shut(None, out),
            Some(line) => self.take_up(parse(&line, &self.terms()), number, out),
            None => {
                let word = Reply::to(None, out).too_long(number);
                self.count(word);
            }
        }
        true
    }

    fn take_up(&mut self, Parsed { id, request }: Parsed<'_>, number: u64, out: &mut Vec<u8>) {
        match request {
            Ok(request) => self.carry_out(request, id, out),
            Err(fault) => {
                let word = Reply::to(id, out).faulty(&fault, number);
                self.count(word);
            }
        }
    }

    /// Whether an untagged line must wait for those before it.
    fn must_wait(&self) -> bool {
        self.is_busy || !self.held.is_empty()
    }

    /// Answers a line that is too long. Its `id` is given back if it stood near the beginning.
    pub fn too_long(&mut self, start: &[u8], number: u64, out: &mut Vec<u8>) {
        let id = parse(start, &self.terms()).id;
        if self.must_wait() && id.is_none() {
            return self.hold(None, number);
        }
        let word = Reply::to(id, out).too_long(number);
        self.count(word);
    }

    /// Writes the replies to mails whose outcome has come, and carries out what waited for them.
    pub fn collect(&mut self, out: &mut Vec<u8>) {
        let now = self.outside.clock.now();
        while let Some((number, outcome)) =
            self.outside.carrier.post_mut().and_then(|post| post.take(now))
        {
            self.arrived(number, outcome, out);
        }
    }

    /// From here on, what waits for its turn is not begun any more, nor is a line whose end did
    /// not come.
    pub fn close(&mut self, unfinished: Option<&[u8]>, out: &mut Vec<u8>) {
        self.is_closing = true;
        if let Some(line) = unfinished.filter(|line| !is_blank(line)) {
            let id = parse(line, &self.terms()).id;
            if self.must_wait() && id.is_none() {
                self.hold(Some(line), 0);
            } else {
                self.shut(id, out);
            }
        }
    }

    /// Answers for the mails whose outcome has not come: those that no worker has begun with are
    /// given back, and of the others nobody knows.
    pub fn give_up(&mut self, out: &mut Vec<u8>) {
        let mut numbers: Vec<Number> = self.under_way.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let post = self.outside.carrier.post_mut();
            if !post.is_some_and(|post| post.withdraw(number)) {
                let receipt = Receipt::uncertain("the end came before an answer");
                self.arrived(number, Ok(receipt), out);
            } else if let Some(UnderWay { ticket, id, .. }) = self.under_way.remove(&number) {
                let failure = Failure { temporary: true, smtp: None };
                let _ = self.engine.delivered(&ticket, Err(failure), self.outside.clock.now());
                self.shut(id.as_deref().map(RequestId::from_kept), out);
                self.is_busy &= id.is_some();
            }
        }
    }

    /// Whether nothing waits for the outcome of a mail.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.held.is_empty()
    }

    /// Whether so many lines wait for their turn that no further input must be taken.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.held_bytes >= HELD_MAX
    }

    /// The threads that carry mail, if there are any.
    #[must_use]
    pub const fn post(&self) -> Option<&Post> {
        self.outside.carrier.post()
    }

    /// Forgets what is due, about `most` records of each kind. True if there may be more. In the
    /// simulated world nothing depends on when this is called: there `advance` tidies.
    pub fn tidy(&mut self, most: usize) -> bool {
        self.outside.simulated.is_none() && self.engine.tidy(self.outside.clock.now(), most)
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
        self.outside.carrier.via()
    }

    fn terms(&self) -> Terms {
        Terms { ttl: self.engine.policy().ttl, simulated: self.outside.simulated.is_some() }
    }

    fn carry_out(&mut self, request: Request<'_>, id: Option<RequestId<'_>>, out: &mut Vec<u8>) {
        let now = self.outside.clock.now();
        let reply = Reply::to(id, out);
        match request {
            Request::Issue { to, ttl, client, extras } => {
                let issue = Issue { to, ttl, client: client.as_deref(), extras };
                let letter = self.engine.issue(issue, now, &mut *self.outside.random);
                let sent =
                    letter.map(|letter| send(&letter, &mut self.composer, &mut self.outside));
                self.sent(sent, id, out);
            }
            Request::Resend { session } => {
                let letter = self.engine.resend(&session, now);
                let sent =
                    letter.map(|letter| send(&letter, &mut self.composer, &mut self.outside));
                self.sent(sent, id, out);
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
            Request::Status { session: Some(session) } => {
                match self.engine.standing(&session, now) {
                    Ok(standing) => reply.standing(&session, &standing),
                    Err(refusal) => self.refused(&refusal, reply),
                }
            }
            Request::Status { session: None } => self.daemon(now, reply),
            Request::Unlock { to } => {
                self.engine.unlock(&to);
                reply.unlocked(to.as_str());
            }
            Request::Help { about } => reply.help(about),
            Request::Advance { seconds } => {
                if let Some(world) = &self.outside.simulated {
                    world.advance(Duration::from_secs(seconds));
                    self.engine.tidy(world.now(), usize::MAX);
                }
                reply.advanced(Moment::START.until(self.outside.clock.now()));
            }
        }
    }

    /// A letter was sent, or is on its way, or was refused.
    fn sent(&mut self, sent: Result<Sent, Refusal>, id: Option<RequestId<'_>>, out: &mut Vec<u8>) {
        match sent {
            Err(refusal) => self.refused(&refusal, Reply::to(id, out)),
            Ok(Sent::Done(done)) => self.done(done, Reply::to(id, out)),
            Ok(Sent::UnderWay { number, ticket, masked_to }) => {
                self.is_busy |= id.is_none();
                let id = id.map(|id| id.as_json().into());
                self.under_way.insert(number, UnderWay { ticket, id, masked_to });
            }
        }
    }

    fn arrived(&mut self, number: Number, outcome: Outcome, out: &mut Vec<u8>) {
        let Some(UnderWay { ticket, id, masked_to }) = self.under_way.remove(&number) else {
            return;
        };
        let outcome = outcome.map_err(Lost::Undelivered);
        let reply = Reply::to(id.as_deref().map(RequestId::from_kept), out);
        self.done(Done { ticket, masked_to, outcome }, reply);
        self.is_busy &= id.is_some();
    }

    fn hold(&mut self, line: Option<&[u8]>, number: u64) {
        self.held_bytes += HELD_COST + line.map_or(0, <[u8]>::len);
        let line = line.map(|line| Zeroizing::new(line.to_vec()));
        self.held.push_back(Held { number, line });
    }

    fn shut(&mut self, id: Option<RequestId<'_>>, out: &mut Vec<u8>) {
        let word = Reply::to(id, out).shutting_down();
        self.count(word);
    }

    fn done(&mut self, Done { ticket, masked_to, outcome }: Done, reply: Reply<'_>) {
        let now = self.outside.clock.now();
        if let Ok(Receipt { doubt: Some(reason), .. }) = &outcome {
            self.tell(&Event::MailUncertain { to: &masked_to, reason });
        }
        match outcome {
            Ok(receipt) => match self.engine.delivered(&ticket, Ok(receipt.delivery), now) {
                Ok(mailed) => {
                    reply.mailed(&mailed, self.outside.carrier.via(), receipt.file.as_deref());
                    let first = ticket.is_first();
                    let count = if first { &mut self.tally.issued } else { &mut self.tally.resent };
                    *count += 1;
                    self.tell_ok();
                }
                Err(refusal) => self.refused(&refusal, reply),
            },
            Err(Lost::NoRandomness) => {
                let failure = Failure { temporary: true, smtp: None };
                let _ = self.engine.delivered(&ticket, Err(failure), now);
                self.refused(&Refusal::Internal, reply);
            }
            Err(Lost::Undelivered(DeliveryError { failure, reason })) => {
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
        let queued = self.post().map_or(0, Post::queued);
        let in_flight = self.post().map_or(0, Post::under_way).saturating_sub(queued);
        reply.daemon(&Daemon {
            simulated: self.outside.simulated.is_some(),
            via: self.outside.carrier.via(),
            uptime: Moment::START.until(now),
            live,
            queued: queued as u64,
            in_flight: in_flight as u64,
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

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|b| matches!(b, b' ' | b'\t'))
}

/// A letter that was handed to whoever carries it.
enum Sent {
    Done(Done),
    UnderWay { number: Number, ticket: Ticket, masked_to: String },
}

/// How a letter fared.
struct Done {
    ticket: Ticket,
    masked_to: String,
    outcome: Result<Receipt, Lost>,
}

/// Why a letter certainly did not go out.
enum Lost {
    NoRandomness,
    Undelivered(DeliveryError),
}

/// Writes a letter's message and hands it to whoever carries it.
fn send(letter: &Letter<'_>, composer: &mut Composer, outside: &mut Outside) -> Sent {
    let ticket = letter.ticket;
    let done = |outcome| Sent::Done(Done { ticket, masked_to: mask(letter.to), outcome });
    let message = match composer.compose(letter, &*outside.clock, &mut *outside.random) {
        Ok(message) => message,
        Err(Unwritten::NoRandomness) => return done(Err(Lost::NoRandomness)),
        // The same values would fail again.
        Err(Unwritten::Template(reason)) => {
            return done(Err(Lost::Undelivered(DeliveryError::without_reply(false, reason))));
        }
    };
    let outcome = match &mut outside.carrier {
        Carrier::Here(transport) => transport.carry(&message),
        Carrier::Away(post) => match post.send(message, outside.clock.now()) {
            Ok(number) => {
                return Sent::UnderWay { number, ticket, masked_to: mask(letter.to) };
            }
            Err(err) => Err(err),
        },
    };
    done(outcome.map_err(Lost::Undelivered))
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("tally", &self.tally).finish_non_exhaustive()
    }
}
