//! **Decides.** `(command, now, randomness) → answer or letter`, and nothing else: no input or
//! output, no clock, no threads, nothing that can fail for reasons outside.
//!
//! A decision reads and changes one session's record, its address's, and, if one was named, its
//! client's. `session` holds the life of one code, `budget` what an address may still do,
//! [`policy`] the numbers, `code` the code itself; this file finds the records, keeps them, and
//! forgets them (`table`, `wheel`).

mod budget;
mod code;
pub mod policy;
mod session;
mod table;
mod wheel;

use std::time::Duration;

use crate::address::Address;
use crate::clock::{Moment, NoRandomness, Random};
use budget::{ClientLedger, Ledger};
use code::{Key, Name};
use policy::{DAY, HOUR, Policy};
use session::{Draft, Session, Tag, Veil};
use table::{Named, Roll, Slot, Table};
use wheel::{Link, Linked, Wheel};

pub use code::SealedCode;
pub use session::{Extras, Guess, Id, State, Var};

/// Records that one `issue` tidies away: more than the three it may add, so that tidying keeps pace.
const TIDY_PER_ISSUE: usize = 8;

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

/// A letter to be written and sent; [`Engine::delivered`] must be told how it fared.
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
    slot: Slot,
    tag: Tag,
    spent_at: Moment,
    client: Option<Name>,
    is_first: bool,
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

/// An address's record: its counters, under a name instead of the address itself.
#[derive(Debug, Default)]
struct AddressRecord {
    name: Name,
    ledger: Ledger,
    first_live: Link,
    due: Link,
}

/// A client's record.
#[derive(Debug, Default)]
struct ClientRecord {
    name: Name,
    ledger: ClientLedger,
    due: Link,
}

/// All sessions and counters, and the rules for them.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    key: Key,
    veil: Veil,
    live: u32,
    sessions: Table<Session>,
    addresses: Roll<AddressRecord>,
    clients: Roll<ClientRecord>,
    session_wheel: Wheel,
    address_wheel: Wheel,
    client_wheel: Wheel,
}

impl Engine {
    /// An engine with a key of its own.
    ///
    /// # Errors
    /// [`NoRandomness`] when no key can be drawn.
    pub fn new(policy: Policy, random: &mut dyn Random) -> Result<Self, NoRandomness> {
        let key = Key::draw(random)?;
        Ok(Self {
            veil: Veil(key.veil()),
            policy,
            key,
            live: 0,
            sessions: Table::new(),
            addresses: Roll::new(),
            clients: Roll::new(),
            session_wheel: Wheel::new(),
            address_wheel: Wheel::new(),
            client_wheel: Wheel::new(),
        })
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Begins a session and spends the budgets of its mail.
    ///
    /// # Errors
    /// [`Refusal::Locked`], [`Refusal::RateLimited`], [`Refusal::AtCapacity`] or
    /// [`Refusal::Internal`]; nothing is spent then.
    pub fn issue(
        &mut self,
        request: Issue<'_>,
        now: Moment,
        random: &mut dyn Random,
    ) -> Result<Letter<'_>, Refusal> {
        self.tidy(now, TIDY_PER_ISSUE);
        let name = self.key.address_name(&request.to.budget_key());
        let client = request.client.map(|client| self.key.client_name(client));
        let known = self.addresses.find(&name);
        let known_client = client.and_then(|client| self.clients.find(&client));
        self.check_budgets(known, known_client, now)?;
        self.make_room(known.is_none(), client.is_some() && known_client.is_none(), now)?;
        let mut random_bytes = [0; 32];
        random.fill(&mut random_bytes).map_err(|NoRandomness| Refusal::Internal)?;

        let address = known.unwrap_or_else(|| self.add_address(name, now));
        if let Some(client) = client {
            let slot = known_client.unwrap_or_else(|| self.add_client(client, now));
            if let Some(record) = self.clients.at_mut(slot) {
                record.ledger.spend(now);
            }
        }
        let (tag, nonce) = halves(&random_bytes);
        let ttl = request.ttl.unwrap_or(self.policy.ttl);
        let slot = self.sessions.insert(Session::new(Draft {
            tag,
            nonce,
            deadline: now + ttl,
            to: request.to.into_text(),
            address,
            extras: request.extras,
            attempts: self.policy.attempts,
        }));
        self.session_wheel.add(slot, now + ttl, &mut self.sessions);
        self.live += 1;
        if let Some(record) = self.addresses.at_mut(address) {
            record.ledger.spend_mail(now);
            let next = std::mem::replace(&mut record.first_live, slot + 1);
            if let Some(session) = self.sessions.at_mut(slot) {
                session.next_live = next;
            }
        }
        let ticket = Ticket { slot, tag, spent_at: now, client, is_first: true };
        self.letter(ticket, now).ok_or(Refusal::Internal)
    }

    /// Spends the budgets of another mail with the same code.
    ///
    /// # Errors
    /// As `verify` would answer an ended session; [`Refusal::Locked`] or [`Refusal::RateLimited`].
    pub fn resend(&mut self, session: &str, now: Moment) -> Result<Letter<'_>, Refusal> {
        let (slot, session) = self.find(session, now)?;
        session.check_pending(now)?;
        let (tag, address) = (*session.tag(), session.address());
        let record = self.addresses.at_mut(address).ok_or(Refusal::NoSession)?;
        record.ledger.check_lock(now, &self.policy)?;
        match record.ledger.mail_wait(now, &self.policy) {
            (Duration::ZERO, _) => record.ledger.spend_mail(now),
            (retry_in, limit) => return Err(Refusal::RateLimited { limit, retry_in }),
        }
        let ticket = Ticket { slot, tag, spent_at: now, client: None, is_first: false };
        self.letter(ticket, now).ok_or(Refusal::Internal)
    }

    /// Takes in how a letter fared.
    ///
    /// # Errors
    /// [`Refusal::DeliveryFailed`] if it certainly failed: what it cost is given back, and a
    /// session whose first letter it was does not exist.
    pub fn delivered(
        &mut self,
        ticket: &Ticket,
        outcome: Result<Delivery, Failure>,
        now: Moment,
    ) -> Result<Mailed<'_>, Refusal> {
        match outcome {
            Ok(delivery) => self.note_delivery(ticket, delivery, now),
            Err(failure) => {
                self.give_back(ticket, now);
                Err(Refusal::DeliveryFailed(failure))
            }
        }
    }

    /// Grants or denies.
    ///
    /// # Errors
    /// The refusal; only [`Refusal::WrongCode`] was counted.
    pub fn verify(
        &mut self,
        session: &str,
        guess: &Guess<'_>,
        now: Moment,
    ) -> Result<Verified<'_>, Refusal> {
        let (slot, tag) = self.veil.place(session).ok_or(Refusal::NoSession)?;
        let session = self.sessions.at_mut(slot).filter(|session| session.is(&tag, now));
        let session = session.ok_or(Refusal::NoSession)?;
        // The record of an ended session's address may be gone; such a session is refused before
        // its ledger is looked at.
        let mut nobody = Ledger::default();
        let ledger = self.addresses.at_mut(session.address()).map(|record| &mut record.ledger);
        let verdict =
            session.verify(ledger.unwrap_or(&mut nobody), guess, now, &self.policy, &self.key);
        if !matches!(verdict, Ok(()) | Err(Refusal::WrongCode { attempts_left: 0 })) {
            return Err(verdict.err().unwrap_or(Refusal::Internal));
        }
        self.leave_live(slot);
        verdict?;
        let session = self.sessions.at(slot).ok_or(Refusal::NoSession)?;
        Ok(Verified { to: session.to(), purpose: session.purpose(), data: session.data() })
    }

    /// Ends a session; its counters stay.
    ///
    /// # Errors
    /// How it ended, if it has already.
    pub fn cancel(&mut self, session: &str, now: Moment) -> Result<(), Refusal> {
        let (slot, session) = self.find(session, now)?;
        session.check_pending(now)?;
        if let Some(session) = self.sessions.at_mut(slot) {
            session.end(State::Cancelled);
        }
        self.leave_live(slot);
        Ok(())
    }

    /// Tells how a session stands, and changes nothing.
    ///
    /// # Errors
    /// [`Refusal::NoSession`].
    pub fn standing(&self, session: &str, now: Moment) -> Result<Standing, Refusal> {
        let (_, session) = self.find(session, now)?;
        let state = session.state(now);
        let record = self.addresses.at(session.address()).filter(|_| state == State::Pending);
        Ok(Standing {
            state,
            delivery: session.delivery(),
            expires_in: session.expires_in(now),
            resend_in: record
                .map_or(Duration::ZERO, |record| record.ledger.resend_wait(now, &self.policy)),
            attempts_left: session.attempts_left(),
        })
    }

    /// Clears an address's failures and budgets. Its sessions stay.
    pub fn unlock(&mut self, address: &Address) {
        let name = self.key.address_name(&address.budget_key());
        if let Some(slot) = self.addresses.find(&name)
            && let Some(record) = self.addresses.at_mut(slot)
        {
            record.ledger.unlock();
        }
    }

    /// Live sessions. Tidies all that is due first, so that none of them has expired.
    pub fn live(&mut self, now: Moment) -> u32 {
        while !self.session_wheel.is_caught_up(now) {
            self.tidy_session(now);
        }
        self.live
    }

    /// Forgets what is due, at most about `most` records of each kind.
    pub fn tidy(&mut self, now: Moment, most: usize) {
        for _ in 0..most {
            let more = [self.tidy_session(now), self.tidy_address(now), self.tidy_client(now)];
            if more == [false; 3] {
                return;
            }
        }
    }

    /// Whether nothing is kept that time could change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.session_wheel.is_empty() && self.address_wheel.is_empty()
    }

    fn find(&self, id: &str, now: Moment) -> Result<(Slot, &Session), Refusal> {
        let (slot, tag) = self.veil.place(id).ok_or(Refusal::NoSession)?;
        let session = self.sessions.at(slot).filter(|session| session.is(&tag, now));
        Ok((slot, session.ok_or(Refusal::NoSession)?))
    }

    fn letter(&self, ticket: Ticket, now: Moment) -> Option<Letter<'_>> {
        let session = self.sessions.at(ticket.slot)?;
        Some(Letter {
            to: session.to(),
            code: session.code(&self.policy, &self.key),
            life: session.expires_in(now),
            extras: session.extras(),
            ticket,
        })
    }

    fn note_delivery(
        &mut self,
        ticket: &Ticket,
        delivery: Delivery,
        now: Moment,
    ) -> Result<Mailed<'_>, Refusal> {
        let session =
            self.sessions.at_mut(ticket.slot).filter(|session| session.is(&ticket.tag, now));
        let session = session.ok_or(Refusal::NoSession)?;
        session.note_delivery(delivery);
        let record = self.addresses.at(session.address());
        Ok(Mailed {
            session: self.veil.id(ticket.slot, &ticket.tag),
            to: session.to(),
            delivery,
            expires_in: session.expires_in(now),
            resend_in: record
                .map_or(Duration::ZERO, |record| record.ledger.resend_wait(now, &self.policy)),
            attempts_left: session.attempts_left(),
        })
    }

    fn give_back(&mut self, ticket: &Ticket, now: Moment) {
        let session = self.sessions.at(ticket.slot).filter(|session| session.is(&ticket.tag, now));
        let Some(address) = session.map(Session::address) else {
            return;
        };
        if ticket.is_first {
            self.void(ticket.slot);
        }
        let record = self.addresses.at_mut(address);
        let given = record.is_some_and(|record| record.ledger.give_back(ticket.spent_at, now));
        if given
            && let Some(slot) = ticket.client.and_then(|client| self.clients.find(&client))
            && let Some(record) = self.clients.at_mut(slot)
        {
            record.ledger.give_back(ticket.spent_at);
        }
    }

    /// The session never was. Its place is emptied when its time comes in the wheel.
    fn void(&mut self, slot: Slot) {
        let Some(session) = self.sessions.at_mut(slot) else {
            return;
        };
        let was_pending = session.noted_state() == State::Pending;
        session.end(State::Void);
        if was_pending {
            self.leave_live(slot);
        }
    }

    /// Refuses what a limit forbids; of several, the one with the longest wait is told.
    fn check_budgets(
        &self,
        address: Option<Slot>,
        client: Option<Slot>,
        now: Moment,
    ) -> Result<(), Refusal> {
        let mut longest = (Duration::ZERO, Limit::Cooldown);
        let mut consider = |wait: (Duration, Limit)| {
            if wait.0 > longest.0 {
                longest = wait;
            }
        };
        if let Some(record) = address.and_then(|slot| self.addresses.at(slot)) {
            record.ledger.check_lock(now, &self.policy)?;
            consider(record.ledger.mail_wait(now, &self.policy));
            consider((self.live_wait(record, now), Limit::LiveSessions));
        }
        if let Some(record) = client.and_then(|slot| self.clients.at(slot)) {
            consider((record.ledger.wait(now, &self.policy), Limit::ClientHour));
        }
        match longest {
            (Duration::ZERO, _) => Ok(()),
            (retry_in, limit) => Err(Refusal::RateLimited { limit, retry_in }),
        }
    }

    /// How long until the address has fewer live sessions than it may have.
    fn live_wait(&self, record: &AddressRecord, now: Moment) -> Duration {
        let mut lives: Vec<Duration> = self
            .live_of(record)
            .map(|(_, session)| session.expires_in(now))
            .filter(|life| !life.is_zero())
            .collect();
        lives.sort_unstable();
        let excess = lives.len().checked_sub(usize::from(self.policy.live_sessions));
        excess.and_then(|at| lives.get(at)).copied().unwrap_or(Duration::ZERO)
    }

    fn live_of(&self, record: &AddressRecord) -> impl Iterator<Item = (Slot, &Session)> {
        let at = |link: Link| {
            let slot = link.checked_sub(1)?;
            Some((slot, self.sessions.at(slot)?))
        };
        std::iter::successors(at(record.first_live), move |(_, session)| at(session.next_live))
    }

    /// Makes sure that a new session, and the records it needs, have room. Nothing that is still
    /// needed is evicted: counters that could be pushed out would be no counters (CVE-2024-21662).
    fn make_room(
        &mut self,
        new_address: bool,
        new_client: bool,
        now: Moment,
    ) -> Result<(), Refusal> {
        let remembered = self.policy.remembered as usize;
        while self.live >= self.policy.capacity
            || self.sessions.len() - self.live as usize >= remembered
        {
            if !self.tidy_session(now) {
                return Err(Refusal::AtCapacity);
            }
        }
        while new_address && self.addresses.len() >= remembered {
            if !self.tidy_address(now) {
                return Err(Refusal::AtCapacity);
            }
        }
        while new_client && self.clients.len() >= remembered {
            if !self.tidy_client(now) {
                return Err(Refusal::AtCapacity);
            }
        }
        Ok(())
    }

    fn add_address(&mut self, name: Name, now: Moment) -> Slot {
        let slot = self.addresses.insert(AddressRecord { name, ..AddressRecord::default() });
        self.address_wheel.add(slot, now + DAY, self.addresses.records_mut());
        slot
    }

    fn add_client(&mut self, name: Name, now: Moment) -> Slot {
        let slot = self.clients.insert(ClientRecord { name, ..ClientRecord::default() });
        self.client_wheel.add(slot, now + HOUR, self.clients.records_mut());
        slot
    }

    /// Takes a session that has just ended out of the live ones.
    fn leave_live(&mut self, slot: Slot) {
        let Some(session) = self.sessions.at_mut(slot) else {
            return;
        };
        let address = session.address();
        let next = std::mem::take(&mut session.next_live);
        self.live = self.live.saturating_sub(1);
        let Some(record) = self.addresses.at(address) else {
            return;
        };
        let before = self.live_of(record).find(|(_, session)| session.next_live == slot + 1);
        match before.map(|(before, _)| before) {
            Some(before) => {
                if let Some(session) = self.sessions.at_mut(before) {
                    session.next_live = next;
                }
            }
            None => {
                if let Some(record) = self.addresses.at_mut(address) {
                    record.first_live = next;
                }
            }
        }
    }

    /// Takes the next step of one session that is due: expired, then forgotten. False if none is.
    fn tidy_session(&mut self, now: Moment) -> bool {
        let Some(slot) = self.session_wheel.pop(now, &mut self.sessions) else {
            return !self.session_wheel.is_caught_up(now);
        };
        let Some(session) = self.sessions.at_mut(slot) else {
            return true;
        };
        let (noted, deadline, forgotten) =
            (session.noted_state(), session.deadline(), session.forgotten_at());
        if now < deadline {
            self.session_wheel.add(slot, deadline, &mut self.sessions);
            return true;
        }
        if noted == State::Pending {
            session.end(State::Expired);
            self.leave_live(slot);
        }
        if noted == State::Void || now >= forgotten {
            self.sessions.remove(slot);
        } else {
            self.session_wheel.add(slot, forgotten, &mut self.sessions);
        }
        true
    }

    /// Forgets one address that is due, if nothing of it counts any more. False if none is due.
    fn tidy_address(&mut self, now: Moment) -> bool {
        let Some(slot) = self.address_wheel.pop(now, self.addresses.records_mut()) else {
            return !self.address_wheel.is_caught_up(now);
        };
        let spent = |record: &AddressRecord| record.first_live == 0 && record.ledger.is_spent(now);
        if self.addresses.at(slot).is_some_and(spent) {
            self.addresses.remove(slot);
        } else {
            self.address_wheel.add(slot, now + HOUR, self.addresses.records_mut());
        }
        true
    }

    /// Forgets one client that is due, likewise.
    fn tidy_client(&mut self, now: Moment) -> bool {
        let Some(slot) = self.client_wheel.pop(now, self.clients.records_mut()) else {
            return !self.client_wheel.is_caught_up(now);
        };
        if self.clients.at(slot).is_some_and(|record| record.ledger.is_spent(now)) {
            self.clients.remove(slot);
        } else {
            self.client_wheel.add(slot, now + HOUR, self.clients.records_mut());
        }
        true
    }
}

fn halves(bytes: &[u8; 32]) -> ([u8; 16], [u8; 16]) {
    let (mut first, mut second) = ([0; 16], [0; 16]);
    first.copy_from_slice(&bytes[..16]);
    second.copy_from_slice(&bytes[16..]);
    (first, second)
}

impl Named for AddressRecord {
    fn name(&self) -> &Name {
        &self.name
    }
}

impl Linked for AddressRecord {
    fn link(&mut self) -> &mut Link {
        &mut self.due
    }
}

impl Named for ClientRecord {
    fn name(&self) -> &Name {
        &self.name
    }
}

impl Linked for ClientRecord {
    fn link(&mut self) -> &mut Link {
        &mut self.due
    }
}
