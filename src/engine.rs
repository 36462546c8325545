//! **Decides.** `(command, now, randomness) → answer or letter`, and nothing else: no input or
//! output, no clock, no threads, nothing that can fail for reasons outside.
//!
//! A decision reads and changes one session's record, its address's, and, if one was named, its
//! client's. `session` holds the life of one code, `budget` what an address may still do,
//! [`policy`] the numbers, `code` the code itself; `outcome` is what can be asked and answered. The
//! records are kept by `book` (in `table`, found by name or place) and forgotten in time (`wheel`).

mod book;
mod budget;
mod code;
mod outcome;
pub mod policy;
mod session;
mod table;
mod wheel;

use std::time::Duration;

use crate::address::Address;
use crate::clock::{Moment, NoRandomness, Random};
use book::{Book, Places};
use budget::Ledger;
use code::Key;
use policy::Policy;
use session::{Draft, Session, Veil};
use table::Slot;

pub use code::SealedCode;
pub use outcome::{
    Delivery, Failure, Issue, Letter, Limit, Mailed, Refusal, Standing, Ticket, Verified,
};
pub use session::{Extras, Guess, ID_LEN, Id, State, Var};

/// Records that one `issue` tidies away: more than the three it may add, so that tidying keeps pace.
const TIDY_PER_ISSUE: usize = 8;

/// All sessions and counters, and the rules for them.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    key: Key,
    veil: Veil,
    book: Book,
}

impl Engine {
    /// An engine with a key of its own.
    ///
    /// # Errors
    /// [`NoRandomness`] when no key can be drawn.
    pub fn new(policy: Policy, random: &mut dyn Random) -> Result<Self, NoRandomness> {
        let key = Key::draw(random)?;
        Ok(Self { veil: Veil(key.veil()), policy, key, book: Book::new() })
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
        self.book.tidy(now, TIDY_PER_ISSUE);
        let name = self.key.address_name(&request.to.budget_key());
        let client = request.client.map(|client| self.key.client_name(client));
        let known = self.book.find_address(&name);
        let known_client = client.and_then(|client| self.book.find_client(&client));
        self.check_budgets(known, known_client, now)?;
        self.make_room(known.is_none(), client.is_some() && known_client.is_none(), now)?;
        let (mut tag, mut nonce) = ([0; 16], [0; 16]);
        let drawn = random.fill(&mut tag).and_then(|()| random.fill(&mut nonce));
        drawn.map_err(|NoRandomness| Refusal::Internal)?;

        if let Some(name) = client {
            let slot = known_client.unwrap_or_else(|| self.book.add_client(name, now));
            if let Some(ledger) = self.book.client_mut(slot) {
                ledger.spend(now);
            }
        }
        let address = known.unwrap_or_else(|| self.book.add_address(name, now));
        if let Some(ledger) = self.book.address_mut(address) {
            ledger.spend_mail(now);
        }
        let slot = self.book.add_session(Session::new(Draft {
            tag,
            nonce,
            deadline: now + request.ttl.unwrap_or(self.policy.ttl),
            to: request.to.into_text(),
            address,
            extras: request.extras,
            attempts: self.policy.attempts,
        }));
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
        let ledger = self.book.address_mut(address).ok_or(Refusal::NoSession)?;
        ledger.check_lock(now, &self.policy)?;
        match ledger.mail_wait(now, &self.policy) {
            (Duration::ZERO, _) => ledger.spend_mail(now),
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
        let (session, ledger) = self.book.session_mut(slot).ok_or(Refusal::NoSession)?;
        if !session.is(&tag, now) {
            return Err(Refusal::NoSession);
        }
        // The record of an ended session's address may be gone; such a session is refused before
        // its ledger is looked at.
        let mut nobody = Ledger::default();
        let ledger = ledger.unwrap_or(&mut nobody);
        let verdict = session.verify(ledger, guess, now, &self.policy, &self.key);
        let has_ended = session.noted_state() != State::Pending;
        if has_ended && matches!(verdict, Ok(()) | Err(Refusal::WrongCode { .. })) {
            self.book.leave_live(slot);
        }
        verdict?;
        let session = self.book.session(slot).ok_or(Refusal::NoSession)?;
        Ok(Verified { to: session.to(), purpose: session.purpose(), data: session.data() })
    }

    /// Ends a session; its counters stay.
    ///
    /// # Errors
    /// How it ended, if it has already.
    pub fn cancel(&mut self, session: &str, now: Moment) -> Result<(), Refusal> {
        let (slot, session) = self.find(session, now)?;
        session.check_pending(now)?;
        if let Some((session, _)) = self.book.session_mut(slot) {
            session.end(State::Cancelled);
        }
        self.book.leave_live(slot);
        Ok(())
    }

    /// Tells how a session stands, and changes nothing.
    ///
    /// # Errors
    /// [`Refusal::NoSession`].
    pub fn standing(&self, session: &str, now: Moment) -> Result<Standing, Refusal> {
        let (_, session) = self.find(session, now)?;
        let state = session.state(now);
        let resend_in = match state {
            State::Pending => self.resend_wait(session, now),
            _ => Duration::ZERO,
        };
        Ok(Standing {
            state,
            delivery: session.delivery(),
            expires_in: session.expires_in(now),
            resend_in,
            attempts_left: session.attempts_left(),
        })
    }

    /// Clears an address's failures and budgets. Its sessions stay.
    pub fn unlock(&mut self, address: &Address) {
        let name = self.key.address_name(&address.budget_key());
        let slot = self.book.find_address(&name);
        if let Some(ledger) = slot.and_then(|slot| self.book.address_mut(slot)) {
            ledger.unlock();
        }
    }

    /// Live sessions. Tidies all that is due first, so that none of them has expired.
    pub fn live(&mut self, now: Moment) -> u32 {
        while self.book.tidy_session(now) {}
        self.book.live()
    }

    /// Forgets what is due, at most about `most` records of each kind. True if there may be more.
    pub fn tidy(&mut self, now: Moment, most: usize) -> bool {
        self.book.tidy(now, most)
    }

    /// Whether nothing is kept that time could change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.book.is_empty()
    }

    /// Whether there are so many records that most lie outside the processor's caches.
    #[must_use]
    pub const fn is_spread(&self) -> bool {
        self.book.is_spread()
    }

    /// Gets the records of these sessions near, before their commands' turn comes. Nothing is
    /// decided or changed; a text that is no session's id does no harm.
    pub fn foresee<'i>(&self, ids: impl Iterator<Item = &'i str>) {
        let places = ids.filter_map(|id| self.veil.place(id));
        self.book.foresee(&places.map(|(slot, _)| slot).collect::<Places>());
    }

    fn find(&self, id: &str, now: Moment) -> Result<(Slot, &Session), Refusal> {
        let (slot, tag) = self.veil.place(id).ok_or(Refusal::NoSession)?;
        let session = self.book.session(slot).filter(|session| session.is(&tag, now));
        Ok((slot, session.ok_or(Refusal::NoSession)?))
    }

    fn letter(&self, ticket: Ticket, now: Moment) -> Option<Letter<'_>> {
        let session = self.book.session(ticket.slot)?;
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
        let (session, _) = self.book.session_mut(ticket.slot).ok_or(Refusal::NoSession)?;
        if !session.is(&ticket.tag, now) {
            return Err(Refusal::NoSession);
        }
        session.note_delivery(delivery);
        let session = self.book.session(ticket.slot).ok_or(Refusal::NoSession)?;
        Ok(Mailed {
            session: self.veil.id(ticket.slot, &ticket.tag),
            to: session.to(),
            delivery,
            expires_in: session.expires_in(now),
            resend_in: self.resend_wait(session, now),
            attempts_left: session.attempts_left(),
        })
    }

    fn give_back(&mut self, ticket: &Ticket, now: Moment) {
        let Some((session, Some(ledger))) = self.book.session_mut(ticket.slot) else { return };
        if !session.is(&ticket.tag, now) {
            return;
        }
        let given = ledger.give_back(ticket.spent_at, now);
        // As if the session had never been. Its place is emptied when its time comes in the wheel.
        if ticket.is_first && session.noted_state() == State::Pending {
            self.book.void(ticket.slot);
        }
        if given
            && let Some(slot) = ticket.client.and_then(|client| self.book.find_client(&client))
            && let Some(ledger) = self.book.client_mut(slot)
        {
            ledger.give_back(ticket.spent_at);
        }
    }

    fn resend_wait(&self, session: &Session, now: Moment) -> Duration {
        let ledger = self.book.address(session.address());
        ledger.map_or(Duration::ZERO, |ledger| ledger.resend_wait(now, &self.policy))
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
        if let Some(slot) = address
            && let Some(ledger) = self.book.address(slot)
        {
            ledger.check_lock(now, &self.policy)?;
            consider(ledger.mail_wait(now, &self.policy));
            consider((self.live_wait(slot, now), Limit::LiveSessions));
        }
        if let Some(ledger) = client.and_then(|slot| self.book.client(slot)) {
            consider((ledger.wait(now, &self.policy), Limit::ClientHour));
        }
        match longest {
            (Duration::ZERO, _) => Ok(()),
            (retry_in, limit) => Err(Refusal::RateLimited { limit, retry_in }),
        }
    }

    /// How long until the address has fewer live sessions than it may have.
    fn live_wait(&self, address: Slot, now: Moment) -> Duration {
        let lives = self.book.live_of(address).map(|(_, session)| session.expires_in(now));
        let mut lives: Vec<Duration> = lives.filter(|life| !life.is_zero()).collect();
        lives.sort_unstable();
        let excess = lives.len().checked_sub(usize::from(self.policy.live_sessions));
        excess.and_then(|at| lives.get(at)).copied().unwrap_or(Duration::ZERO)
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
        let tidied = |more: bool| if more { Ok(()) } else { Err(Refusal::AtCapacity) };
        while self.book.live() >= self.policy.capacity || self.book.ended() >= remembered {
            tidied(self.book.tidy_session(now))?;
        }
        if new_address && self.book.addresses() >= remembered {
            // An address is forgotten only after its sessions have left it.
            while self.book.tidy_session(now) {}
        }
        while new_address && self.book.addresses() >= remembered {
            tidied(self.book.tidy_address(now))?;
        }
        while new_client && self.book.clients() >= remembered {
            tidied(self.book.tidy_client(now))?;
        }
        Ok(())
    }
}
