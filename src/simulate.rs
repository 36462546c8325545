//! The simulated world: chance from a seed, time that moves only when told. For test harnesses,
//! which write all their input before they read, and for our own tests.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};

use crate::clock::{Clock, Moment, NoRandomness, Random, datable};

/// The wall clock's date at the start of every simulated world: 2026-01-01T00:00:00Z.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Bytes that follow from a seed. ChaCha20, whose stream is the same in every release.
#[derive(Debug)]
pub struct Seeded(ChaCha20Rng);

impl Seeded {
    /// The world of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }
}

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

/// A clock that stands still until it is advanced. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct StoppedClock(Rc<Cell<Moment>>);

impl StoppedClock {
    /// Moves the time on.
    pub fn advance(&self, span: Duration) {
        self.0.set(self.0.get() + span);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Moment {
        self.0.get()
    }

    fn wall(&self) -> SystemTime {
        datable(SystemTime::UNIX_EPOCH + EPOCH + Moment::START.until(self.0.get()))
    }
}
