//! The life of one code: what its session is, and what may happen to it.

use std::hint::black_box;
use std::time::Duration;

use compact_str::CompactString;
use data_encoding::BASE32HEX_NOPAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::budget::Ledger;
use super::code::{Key, Nonce, SealedCode, Typed};
use super::policy::{Policy, REMEMBER};
use super::table::Slot;
use super::wheel::{Link, Linked};
use super::{Delivery, Refusal};
use crate::clock::Moment;

/// The random part of a session's id: 128 bits, compared in constant time.
pub type Tag = [u8; 16];

/// Characters of a session's id: 16 random bytes and 4 for its place, in base32.
pub const ID_LEN: usize = 32;

/// One code's session. It holds no code, only the random bytes that one is computed from.
///
/// 80 bytes, addresses of up to 24 bytes included.
#[derive(Debug, Default)]
pub struct Session {
    tag: Tag,
    nonce: Nonce,
    deadline: Moment,
    whom: Whom,
    address: Slot,
    /// The next live session of the same address.
    pub next_live: Link,
    /// The next record of the same second of the wheel.
    due: Link,
    attempts_left: u8,
    state: State,
    delivery: Delivery,
}

/// Whom the mail is to. What most sessions do without is kept elsewhere together with the address:
/// this takes no more room than the address by itself.
#[derive(Debug)]
enum Whom {
    Plain(CompactString),
    Special(Box<(CompactString, Extras)>),
}

impl Default for Whom {
    fn default() -> Self {
        Self::Plain(CompactString::default())
    }
}

/// What most sessions do without. Kept because a re-send must say the same again.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// What the code is for; `verify` must name the same.
    pub purpose: Option<Box<str>>,
    /// The language the message was asked in.
    pub locale: Option<Box<str>>,
    /// The caller's own JSON, as it was written.
    pub data: Option<Box<str>>,
    /// Named values for the template.
    pub vars: Vec<Var>,
}

/// A name and its value.
pub type Var = (Box<str>, Box<str>);

/// How a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is no session, or its mail certainly failed: as if it had never been.
    #[default]
    Void,
    /// Its code can be verified.
    Pending,
    /// Its code was verified.
    Verified,
    /// Its code is too old.
    Expired,
    /// Its wrong attempts are used up.
    AttemptsUsed,
    /// It was cancelled.
    Cancelled,
}

/// What a new session is made of.
pub struct Draft {
    /// Random.
    pub tag: Tag,
    /// Random.
    pub nonce: Nonce,
    /// When its code is too old.
    pub deadline: Moment,
    /// The address as mail is sent to it.
    pub to: CompactString,
    /// The place of the address's record.
    pub address: Slot,
    /// The rest, if there is any.
    pub extras: Option<Box<Extras>>,
    /// Wrong attempts that its code has.
    pub attempts: u8,
}

impl Session {
    /// A session that has just begun.
    #[must_use]
    pub fn new(draft: Draft) -> Self {
        Self {
            tag: draft.tag,
            nonce: draft.nonce,
            deadline: draft.deadline,
            whom: match draft.extras {
                None => Whom::Plain(draft.to),
                Some(extras) => Whom::Special(Box::new((draft.to, *extras))),
            },
            address: draft.address,
            attempts_left: draft.attempts,
            state: State::Pending,
            ..Self::default()
        }
    }

    /// Whether this is the session with this tag, and not forgotten yet. Constant time: an id can't
    /// be found byte by byte.
    #[must_use]
    pub fn is(&self, tag: &Tag, now: Moment) -> bool {
        let is_known = self.state != State::Void && now < self.forgotten_at();
        is_known && bool::from(self.tag.ct_eq(tag))
    }

    /// How it stands at `now`; at its last instant it is expired.
    #[must_use]
    pub fn state(&self, now: Moment) -> State {
        match self.state {
            State::Pending if now >= self.deadline => State::Expired,
            state => state,
        }
    }

    /// How it ended, as far as anybody has noted: a pending one may have expired meanwhile.
    #[must_use]
    pub const fn noted_state(&self) -> State {
        self.state
    }

    /// Whether its code can still be verified.
    ///
    /// # Errors
    /// The refusal that says how it ended.
    pub fn check_pending(&self, now: Moment) -> Result<(), Refusal> {
        match self.state(now) {
            State::Pending => Ok(()),
            State::Void => Err(Refusal::NoSession),
            State::Verified => Err(Refusal::AlreadyUsed),
            State::Expired => Err(Refusal::Expired),
            State::AttemptsUsed => Err(Refusal::AttemptsUsed),
            State::Cancelled => Err(Refusal::Cancelled),
        }
    }

    /// Decides one `verify`, in one indivisible step and in the order of the contract: ended,
    /// expired, address locked, purpose, form of the code, count, compare.
    ///
    /// The attempt is counted before the compare, so that nothing that happens in between gives a
    /// free guess; and the last allowed one succeeds if it is right.
    ///
    /// # Errors
    /// The refusal. Only [`Refusal::WrongCode`] was counted.
    pub fn verify(
        &mut self,
        ledger: &mut Ledger,
        guess: &Guess<'_>,
        now: Moment,
        policy: &Policy,
        key: &Key,
    ) -> Result<(), Refusal> {
        self.check_pending(now)?;
        ledger.check_lock(now, policy)?;
        if self.purpose() != guess.purpose {
            return Err(Refusal::WrongPurpose);
        }
        let typed = Typed::parse(guess.code, policy.digits)
            .ok_or(Refusal::BadCode { attempts_left: self.attempts_left })?;
        self.attempts_left = self.attempts_left.saturating_sub(1);
        ledger.count_guess(now);
        if key.opens(&self.nonce, policy.digits, &typed) {
            ledger.clear_guess();
            self.end(State::Verified);
            return Ok(());
        }
        if self.attempts_left == 0 {
            self.end(State::AttemptsUsed);
        }
        Err(Refusal::WrongCode { attempts_left: self.attempts_left })
    }

    /// Ends a pending session.
    pub fn end(&mut self, state: State) {
        self.state = state;
        self.nonce.zeroize();
    }

    /// Its code, to be written into another mail.
    #[must_use]
    pub const fn code<'k>(&'k self, policy: &Policy, key: &'k Key) -> SealedCode<'k> {
        key.seal(&self.nonce, policy.digits)
    }

    /// What the code is for.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.extras()?.purpose.as_deref()
    }

    /// The caller's own JSON.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.extras()?.data.as_deref()
    }

    /// What else the message says.
    #[must_use]
    pub fn extras(&self) -> Option<&Extras> {
        match &self.whom {
            Whom::Plain(_) => None,
            Whom::Special(special) => Some(&special.1),
        }
    }

    /// Reads both ends of the record, which gets all of it near; and the place of the address's.
    #[must_use]
    pub fn foresee(&self) -> Slot {
        black_box((self.deadline, self.state));
        self.address
    }

    /// The address as mail is sent to it.
    #[must_use]
    pub fn to(&self) -> &str {
        match &self.whom {
            Whom::Plain(to) => to,
            Whom::Special(special) => &special.0,
        }
    }

    /// The place of the address's record.
    #[must_use]
    pub const fn address(&self) -> Slot {
        self.address
    }

    /// The random part of its id.
    #[must_use]
    pub const fn tag(&self) -> &Tag {
        &self.tag
    }

    /// When its code is too old.
    #[must_use]
    pub const fn deadline(&self) -> Moment {
        self.deadline
    }

    /// When it is forgotten: it is remembered for as long as its code could have lived, and ten
    /// minutes more, so that a late question is answered for what happened.
    #[must_use]
    pub fn forgotten_at(&self) -> Moment {
        self.deadline + REMEMBER
    }

    /// How long its code still lives.
    #[must_use]
    pub fn expires_in(&self, now: Moment) -> Duration {
        match self.state(now) {
            State::Pending => now.until(self.deadline),
            _ => Duration::ZERO,
        }
    }

    /// Wrong attempts that are left.
    #[must_use]
    pub const fn attempts_left(&self) -> u8 {
        self.attempts_left
    }

    /// What is known of its mail.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Notes how a mail of its code fared. One that was surely sent is not forgotten for a later
    /// one that may not have been.
    pub fn note_delivery(&mut self, delivery: Delivery) {
        if self.delivery != Delivery::Sent {
            self.delivery = delivery;
        }
    }
}

impl Linked for Session {
    fn link(&mut self) -> &mut Link {
        &mut self.due
    }
}

/// What somebody offers as the code of a session.
#[derive(Clone, Copy)]
pub struct Guess<'a> {
    /// What was typed.
    pub code: &'a str,
    /// What it was typed for.
    pub purpose: Option<&'a str>,
}

/// Hides a session's place in its id, so that whoever holds an id can't tell how many there are.
/// It keeps nothing secret that matters: an id is as good as its random part.
#[derive(Clone, Copy, Debug)]
pub struct Veil(pub [u64; 2]);

impl Veil {
    /// The id of the session at `slot`.
    #[must_use]
    pub fn id(self, slot: Slot, tag: &Tag) -> Id {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(tag);
        bytes[16..].copy_from_slice(&(slot ^ self.mask(tag)).to_be_bytes());
        let mut text = [0; ID_LEN];
        BASE32HEX_NOPAD.encode_mut(&bytes, &mut text);
        Id(text)
    }

    /// The place and the random part that an id names, if it has the form of one.
    #[must_use]
    pub fn place(self, id: &str) -> Option<(Slot, Tag)> {
        if id.len() != ID_LEN {
            return None;
        }
        let mut bytes = [0; 20];
        BASE32HEX_NOPAD.decode_mut(id.as_bytes(), &mut bytes).ok()?;
        let (tag, slot) = bytes.split_first_chunk::<16>()?;
        Some((Slot::from_be_bytes(*slot.first_chunk()?) ^ self.mask(tag), *tag))
    }

    fn mask(self, tag: &Tag) -> u32 {
        let low = tag.first_chunk().map_or(0, |low| u64::from_le_bytes(*low));
        let mixed = (low ^ self.0[0]).wrapping_mul(self.0[1] | 1);
        u32::try_from(mixed >> 32).unwrap_or(0)
    }
}

/// The text of a session's id: 32 digits and capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id([u8; ID_LEN]);

impl Id {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// An id of no session, for tests of how ids are written.
    #[cfg(test)]
    pub(crate) fn test(text: &str) -> Self {
        Self(text.as_bytes().try_into().expect("an id's length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_small_as_it_was_meant_to_be() {
        assert_eq!(size_of::<Session>(), 80);
        assert_eq!(size_of::<Ledger>(), 16);
    }

    #[test]
    fn an_id_leads_back_to_its_place_and_any_other_text_nowhere_near() {
        let veil = Veil([0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210]);
        for slot in [0, 1, 77, Slot::MAX] {
            let tag = [slot.to_le_bytes()[0]; 16];
            let id = veil.id(slot, &tag);
            assert_eq!(id.as_str().len(), ID_LEN);
            assert!(id.as_str().bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()));
            assert_eq!(veil.place(id.as_str()), Some((slot, tag)));
            assert_eq!(veil.place(&id.as_str().to_lowercase()), None);
            assert_eq!(veil.place(&format!("{}=", id.as_str())), None);
        }
        assert_eq!(veil.place(""), None);
        assert_eq!(veil.place(&"é".repeat(16)), None);
    }
}
