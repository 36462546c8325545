//! Keeps the records, and forgets them when their time has come.
//!
//! A session that is due has expired, and when it is due again it is forgotten; it leaves the live
//! ones of its address when it ends. An address and a client are forgotten when nothing of them
//! counts any more. Who may do what is decided elsewhere.

use std::hint::black_box;
use std::time::Duration;

use smallvec::SmallVec;

use super::budget::{ClientLedger, Ledger};
use super::code::Name;
use super::policy::{DAY, HOUR};
use super::session::{Session, State};
use super::table::{Named, Roll, Slot, Table};
use super::wheel::{Link, Linked, Wheel};
use crate::clock::Moment;

/// When an address is looked at again whose sessions wait to be tidied.
const SOON: Duration = Duration::from_secs(1);

/// Fewer sessions than this have all their records in a cache of 2 MB.
const SPREAD: usize = 8_192;

/// Places of some sessions.
pub type Places = SmallVec<[Slot; 64]>;

/// An address's record: its counters, under a name instead of the address itself.
#[derive(Debug, Default)]
pub struct AddressRecord {
    name: Name,
    /// What the address may still do.
    pub ledger: Ledger,
    first_live: Link,
    due: Link,
}

/// A client's record.
#[derive(Debug, Default)]
pub struct ClientRecord {
    name: Name,
    /// What the client may still do.
    pub ledger: ClientLedger,
    due: Link,
}

/// All records, and when they fall due.
#[derive(Debug)]
pub struct Book {
    live: u32,
    /// Sessions that never were, whose places are emptied when their time comes in the wheel.
    void: usize,
    sessions: Table<Session>,
    addresses: Roll<AddressRecord>,
    clients: Roll<ClientRecord>,
    session_wheel: Wheel,
    address_wheel: Wheel,
    client_wheel: Wheel,
}

impl Book {
    /// An empty book; it takes memory as it fills.
    pub fn new() -> Self {
        Self {
            live: 0,
            void: 0,
            sessions: Table::new(),
            addresses: Roll::new(),
            clients: Roll::new(),
            session_wheel: Wheel::new(),
            address_wheel: Wheel::new(),
            client_wheel: Wheel::new(),
        }
    }

    /// Sessions that have not ended, those included that have expired and are not tidied yet.
    pub const fn live(&self) -> u32 {
        self.live
    }

    /// Sessions that have ended and are remembered.
    pub const fn ended(&self) -> usize {
        self.sessions.len() - self.live as usize - self.void
    }

    /// Addresses that are remembered.
    pub const fn addresses(&self) -> usize {
        self.addresses.len()
    }

    /// Clients that are remembered.
    pub const fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Whether nothing is kept that time could change.
    pub const fn is_empty(&self) -> bool {
        self.session_wheel.is_empty()
            && self.address_wheel.is_empty()
            && self.client_wheel.is_empty()
    }

    /// The session at `slot`.
    pub fn session(&self, slot: Slot) -> Option<&Session> {
        self.sessions.at(slot)
    }

    /// The session at `slot`, to be changed, and its address's ledger. The address of a session
    /// that has ended may be forgotten.
    pub fn session_mut(&mut self, slot: Slot) -> Option<(&mut Session, Option<&mut Ledger>)> {
        let session = self.sessions.at_mut(slot)?;
        let record = self.addresses.at_mut(session.address());
        Some((session, record.map(|record| &mut record.ledger)))
    }

    /// Whether there are so many records that most lie outside the processor's caches.
    pub const fn is_spread(&self) -> bool {
        self.sessions.len() >= SPREAD
    }

    /// Reads a little of these sessions' records, of their addresses' and of what those lead to, so
    /// that they are near when they are needed.
    ///
    /// A `verify` follows this chain, and waits for main memory at each link. Here the links of one
    /// kind of many sessions stand side by side, and the processor waits for them at once.
    pub fn foresee(&self, places: &[Slot]) {
        let sessions = places.iter().filter_map(|&slot| self.sessions.at(slot));
        let addresses: Places = sessions.map(Session::foresee).collect();
        let addresses = addresses.iter().filter_map(|&slot| self.addresses.at(slot));
        let ledgers: SmallVec<[&Ledger; 64]> = addresses
            .map(|record| {
                black_box(record.due);
                record.ledger.foresee();
                &record.ledger
            })
            .collect();
        ledgers.into_iter().for_each(Ledger::foresee_more);
    }

    /// Where the record of the address of this name is.
    pub fn find_address(&self, name: &Name) -> Option<Slot> {
        self.addresses.find(name)
    }

    /// The ledger of the address at `slot`.
    pub fn address(&self, slot: Slot) -> Option<&Ledger> {
        self.addresses.at(slot).map(|record| &record.ledger)
    }

    /// As [`Book::address`], to be changed.
    pub fn address_mut(&mut self, slot: Slot) -> Option<&mut Ledger> {
        self.addresses.at_mut(slot).map(|record| &mut record.ledger)
    }

    /// Where the record of the client of this name is.
    pub fn find_client(&self, name: &Name) -> Option<Slot> {
        self.clients.find(name)
    }

    /// The ledger of the client at `slot`.
    pub fn client(&self, slot: Slot) -> Option<&ClientLedger> {
        self.clients.at(slot).map(|record| &record.ledger)
    }

    /// As [`Book::client`], to be changed.
    pub fn client_mut(&mut self, slot: Slot) -> Option<&mut ClientLedger> {
        self.clients.at_mut(slot).map(|record| &mut record.ledger)
    }

    /// Adds an address that is not known.
    pub fn add_address(&mut self, name: Name, now: Moment) -> Slot {
        let slot = self.addresses.insert(AddressRecord { name, ..AddressRecord::default() });
        self.address_wheel.add(slot, now + DAY, self.addresses.records_mut());
        slot
    }

    /// Adds a client that is not known.
    pub fn add_client(&mut self, name: Name, now: Moment) -> Slot {
        let slot = self.clients.insert(ClientRecord { name, ..ClientRecord::default() });
        self.client_wheel.add(slot, now + HOUR, self.clients.records_mut());
        slot
    }

    /// Adds a session, as the first of the live ones of its address.
    pub fn add_session(&mut self, mut session: Session) -> Slot {
        let (address, deadline) = (session.address(), session.deadline());
        let record = self.addresses.at(address);
        session.next_live = record.map_or(0, |record| record.first_live);
        let slot = self.sessions.insert(session);
        if let Some(record) = self.addresses.at_mut(address) {
            record.first_live = slot + 1;
        }
        self.session_wheel.add(slot, deadline, &mut self.sessions);
        self.live += 1;
        slot
    }

    /// The live sessions of an address, those included that have expired and are not tidied yet.
    pub fn live_of(&self, address: Slot) -> impl Iterator<Item = (Slot, &Session)> {
        let at = |link: Link| {
            let slot = link.checked_sub(1)?;
            Some((slot, self.sessions.at(slot)?))
        };
        let first = self.addresses.at(address).map_or(0, |record| record.first_live);
        std::iter::successors(at(first), move |(_, session)| at(session.next_live))
    }

    /// Takes a session that has just ended out of the live ones.
    pub fn leave_live(&mut self, slot: Slot) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let address = session.address();
        let next = std::mem::take(&mut session.next_live);
        self.live = self.live.saturating_sub(1);
        let mut live = self.live_of(address);
        let before = live.find(|(_, session)| session.next_live == slot + 1).map(|(slot, _)| slot);
        drop(live);
        if let Some(session) = before.and_then(|before| self.sessions.at_mut(before)) {
            session.next_live = next;
        } else if let Some(record) = self.addresses.at_mut(address) {
            record.first_live = next;
        }
    }

    /// Makes a pending session one that never was.
    pub fn void(&mut self, slot: Slot) {
        if let Some(session) = self.sessions.at_mut(slot) {
            session.end(State::Void);
            self.void += 1;
            self.leave_live(slot);
        }
    }

    /// Tidies what is due, at most about `most` records of each kind. True if there may be more.
    pub fn tidy(&mut self, now: Moment, most: usize) -> bool {
        let mut more = false;
        // Sessions first: an address is forgotten only after they have left it.
        for step in [Self::tidy_session, Self::tidy_address, Self::tidy_client] {
            let steps = (0..most).take_while(|_| step(self, now)).count();
            more |= steps == most;
        }
        more
    }

    /// Takes the next step of one session that is due: expired, then forgotten. False if none is.
    pub fn tidy_session(&mut self, now: Moment) -> bool {
        let Some(slot) = self.session_wheel.pop(now, &mut self.sessions) else {
            return !self.session_wheel.is_caught_up(now);
        };
        let Some(session) = self.sessions.at_mut(slot) else { return true };
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
            self.void -= usize::from(noted == State::Void);
            self.sessions.remove(slot);
        } else {
            self.session_wheel.add(slot, forgotten, &mut self.sessions);
        }
        true
    }

    /// Forgets one address that is due, if nothing of it counts any more. False if none is due.
    pub fn tidy_address(&mut self, now: Moment) -> bool {
        let Some(slot) = self.address_wheel.pop(now, self.addresses.records_mut()) else {
            return !self.address_wheel.is_caught_up(now);
        };
        let left_alone = self.live_of(slot).map(|(_, session)| session.deadline()).max();
        let spent = self.address(slot).map_or(now, |ledger| ledger.spent_at(now));
        match left_alone.unwrap_or_default().max(spent) {
            // A session that has expired and was not tidied yet still leads here.
            due if due <= now && left_alone.is_some() => {
                self.address_wheel.add(slot, now + SOON, self.addresses.records_mut())
            }
            due if due <= now => self.addresses.remove(slot),
            due => self.address_wheel.add(slot, due, self.addresses.records_mut()),
        }
        true
    }

    /// Forgets one client that is due, likewise.
    pub fn tidy_client(&mut self, now: Moment) -> bool {
        let Some(slot) = self.client_wheel.pop(now, self.clients.records_mut()) else {
            return !self.client_wheel.is_caught_up(now);
        };
        match self.client(slot).map_or(now, ClientLedger::spent_at) {
            due if due <= now => self.clients.remove(slot),
            due => self.client_wheel.add(slot, due, self.clients.records_mut()),
        }
        true
    }
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
