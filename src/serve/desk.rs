//! A line in, a reply line out: at once, or when the mail that it asked for has fared somehow.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::Moment;
use crate::engine::{Guess, Issue, Refusal};
use crate::log::{Event, Level, Log};
use crate::mail::post::{Number, Post};
use crate::protocol::parse::{Parsed, Terms, parse};
use crate::protocol::peek::Sessions;
use crate::protocol::reply::Reply;
use crate::protocol::status::{Daemon, Tally};
use crate::protocol::{Request, RequestId, Word};
use crate::service::{Fared, Mail, News, Service};

use super::replies::REPLIES_MAX;

/// Bytes of lines that wait for an untagged one before them, and of what it costs to keep them.
/// When they are more, no further input is taken.
const HELD_MAX: usize = 16 << 20;

/// What a line costs that waits, besides its text: its place in the queue and its allocation.
const HELD_COST: usize = 96;

/// Fewer bytes hold too few lines for any to be worth getting ready for.
const FORESEEN_MIN: usize = 256;

/// Where commands are carried out.
pub struct Desk {
    service: Service,
    sessions: Sessions,
    tally: Tally,
    log: Log,
    /// Who waits for the mails that are under way: ids, or nothing for an untagged command.
    waiting: HashMap<Number, Option<Box<str>>>,
    /// Whether an untagged command waits for its mail; those behind it wait for its reply.
    is_busy: bool,
    /// Whether those that wait are not begun any more.
    is_closing: bool,
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// An untagged line that waits for its turn, and its number.
struct Held {
    number: u64,
    /// None if it was too long to be kept.
    line: Option<Zeroizing<Vec<u8>>>,
}

impl Desk {
    /// Opens a desk.
    #[must_use]
    pub fn new(service: Service, log: Log) -> Self {
        Self {
            service,
            sessions: Sessions::default(),
            tally: Tally::default(),
            log,
            waiting: HashMap::new(),
            is_busy: false,
            is_closing: false,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Gets ready for the lines in these bytes, if there are several: nothing is decided by that.
    pub fn foresee(&self, bytes: &[u8]) {
        let engine = &self.service.engine;
        if bytes.len() >= FORESEEN_MIN && engine.is_spread() {
            engine.foresee(self.sessions.seen_in(bytes));
        }
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
        while let Some((number, fared)) = self.service.arrived() {
            self.arrived(number, Some(fared), out);
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

    /// Answers for the mails whose outcome has not come: those that were not handed over are taken
    /// back, and of the others nobody knows.
    pub fn give_up(&mut self, out: &mut Vec<u8>) {
        for number in self.service.under_way() {
            let fared = self.service.give_up(number);
            self.arrived(number, fared, out);
        }
    }

    /// Whether nothing waits for the outcome of a mail.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.service.is_idle() && self.held.is_empty()
    }

    /// Whether so many lines wait for their turn that no further input must be taken.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.held_bytes >= HELD_MAX
    }

    /// The threads that carry mail, if there are any.
    #[must_use]
    pub const fn post(&self) -> Option<&Post> {
        self.service.post()
    }

    /// Forgets what is due, about `most` records of each kind. True if there may be more. In the
    /// simulated world nothing depends on when this is called: there `advance` tidies.
    pub fn tidy(&mut self, most: usize) -> bool {
        let now = self.service.now();
        self.service.simulated().is_none() && self.service.engine.tidy(now, most)
    }

    /// Whether nothing is kept that time could change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.service.engine.is_empty()
    }

    /// Tells the operator.
    pub fn tell(&mut self, event: &Event<'_>) {
        let clock = self.service.clock();
        self.log.event(event, clock.now(), clock.wall());
    }

    /// Tells the operator that everything was done.
    pub fn tell_end(&mut self) {
        let (issued, verified) = (self.tally.issued, self.tally.verified);
        self.tell(&Event::Ended { issued, verified });
    }

    /// The name of the transport.
    #[must_use]
    pub fn via(&self) -> &'static str {
        self.service.via()
    }

    fn terms(&self) -> Terms {
        Terms {
            ttl: self.service.engine.policy().ttl,
            simulated: self.service.simulated().is_some(),
        }
    }

    fn carry_out(&mut self, request: Request<'_>, id: Option<RequestId<'_>>, out: &mut Vec<u8>) {
        let now = self.service.now();
        let engine = &mut self.service.engine;
        let reply = Reply::to(id, out);
        match request {
            Request::Issue { to, ttl, client, extras } => {
                let issue = Issue { to, ttl, client: client.as_deref(), extras };
                let asked = self.service.issue(issue);
                self.asked(asked, id, out);
            }
            Request::Resend { session } => {
                let asked = self.service.resend(&session);
                self.asked(asked, id, out);
            }
            Request::Verify { session, code, purpose } => {
                let guess = Guess { code: code.as_str(), purpose: purpose.as_deref() };
                match engine.verify(&session, &guess, now) {
                    Ok(verified) => {
                        reply.verified(&session, &verified);
                        self.tally.verified += 1;
                        self.tell_ok();
                    }
                    Err(refusal) => self.refused(&refusal, reply),
                }
            }
            Request::Cancel { session } => match engine.cancel(&session, now) {
                Ok(()) => {
                    reply.cancelled(&session);
                    self.tally.cancelled += 1;
                    self.tell_ok();
                }
                Err(refusal) => self.refused(&refusal, reply),
            },
            Request::Status { session: Some(session) } => match engine.standing(&session, now) {
                Ok(standing) => reply.standing(&session, &standing),
                Err(refusal) => self.refused(&refusal, reply),
            },
            Request::Status { session: None } => self.daemon(now, reply),
            Request::Unlock { to } => {
                engine.unlock(&to);
                reply.unlocked(to.as_str());
            }
            Request::Help { about } => reply.help(about),
            Request::Advance { seconds } => {
                if let Some(world) = self.service.simulated() {
                    world.advance(Duration::from_secs(seconds));
                    let now = self.service.now();
                    self.service.engine.tidy(now, usize::MAX);
                }
                reply.advanced(Moment::START.until(self.service.now()));
            }
        }
    }

    /// A mail was asked for.
    fn asked(&mut self, mail: Result<Mail, Refusal>, id: Option<RequestId<'_>>, out: &mut Vec<u8>) {
        match mail {
            Err(refusal) => self.refused(&refusal, Reply::to(id, out)),
            Ok(Mail::Fared(fared)) => self.fared(fared, Reply::to(id, out)),
            Ok(Mail::UnderWay(number)) => {
                self.is_busy |= id.is_none();
                self.waiting.insert(number, id.map(|id| id.as_json().into()));
            }
        }
    }

    /// A mail that somebody waits for has fared somehow, or was taken back.
    fn arrived(&mut self, number: Number, fared: Option<Fared>, out: &mut Vec<u8>) {
        let Some(id) = self.waiting.remove(&number) else { return };
        let kept = id.as_deref().map(RequestId::from_kept);
        match fared {
            Some(fared) => self.fared(fared, Reply::to(kept, out)),
            None => self.shut(kept, out),
        }
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

    fn fared(&mut self, fared: Fared, reply: Reply<'_>) {
        let to = fared.masked_to();
        match fared.news() {
            Some(News::Failed { temporary, reason }) => {
                self.tell(&Event::MailFailed { to, temporary, reason });
            }
            Some(News::Uncertain { reason }) => self.tell(&Event::MailUncertain { to, reason }),
            None => {}
        }
        let (via, is_first) = (self.service.via(), fared.is_first());
        match self.service.settle(fared) {
            Ok((mailed, file)) => {
                reply.mailed(&mailed, via, file.as_deref());
                *if is_first { &mut self.tally.issued } else { &mut self.tally.resent } += 1;
                self.tell_ok();
            }
            Err(refusal) => self.refused(&refusal, reply),
        }
    }

    fn daemon(&mut self, now: Moment, reply: Reply<'_>) {
        let live = self.service.engine.live(now);
        let queued = self.post().map_or(0, Post::queued);
        let in_flight = self.post().map_or(0, Post::under_way).saturating_sub(queued);
        reply.daemon(&Daemon {
            simulated: self.service.simulated().is_some(),
            via: self.service.via(),
            uptime: Moment::START.until(now),
            live,
            queued: queued as u64,
            in_flight: in_flight as u64,
            replies_max: REPLIES_MAX as u64,
            tally: &self.tally,
            policy: self.service.engine.policy(),
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

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("tally", &self.tally).finish_non_exhaustive()
    }
}
