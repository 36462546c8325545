//! Time and chance as capabilities: whoever decides is handed both and reaches for neither.

use std::num::NonZeroU64;
use std::ops::Add;
use std::time::{Duration, SystemTime};

/// An instant of the monotonic clock, in milliseconds since the process started.
///
/// Only differences matter. The clock behind it counts the time a machine sleeps, so that a code
/// does not outlive its life in a suspended laptop, and no step of the wall clock moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(
    /// One more than the milliseconds, so that a record's `Option<Moment>` takes 8 bytes.
    NonZeroU64,
);

impl Moment {
    /// The instant at which the process started.
    pub const START: Self = Self(NonZeroU64::MIN);

    /// The instant `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(millis))
    }

    /// Milliseconds since the start.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0.get() - 1
    }

    /// How long from here to `later`; zero when `later` is not later.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.millis().saturating_sub(self.millis()))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self::START
    }
}

/// Whole seconds, rounded up: a caller who waits as long as it was told is never too early.
#[must_use]
pub fn secs_up(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// Tells the time.
pub trait Clock: std::fmt::Debug {
    /// The monotonic clock: for lives, waits and windows.
    fn now(&self) -> Moment;

    /// The wall clock, [`datable`]: for the `Date` of a message and for log lines, never for a
    /// decision.
    fn wall(&self) -> SystemTime;
}

/// The nearest time that a date can be written of: 1970 to 9999. A clock may be set to anything.
#[must_use]
pub fn datable(time: SystemTime) -> SystemTime {
    let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    time.clamp(SystemTime::UNIX_EPOCH, latest)
}

/// The generator gave nothing: no code can be made, and none may be made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

/// Gives bytes that nobody can foretell.
pub trait Random: std::fmt::Debug {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`NoRandomness`] when the operating system refuses; nothing weaker is ever used instead.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness>;
}
