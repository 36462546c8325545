//! The numbers, each with its bounds and its source, and what follows from them.
//!
//! Sources: NIST is SP 800-63 (63A identity proofing, 63B authentication; -4 of 2025 unless
//! another year is given), ASVS is the OWASP Application Security Verification Standard 5.0.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Digits of a code. NIST 63B-4 §3.1.3.2 and ASVS 6.5.4 ask for 20 bits, which is six digits.
pub const DIGITS: RangeInclusive<u8> = 6..=10;
/// Life of a code. NIST 63A-4 allows 24 h for confirmation codes.
pub const TTL: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);
/// The longest life that needs no warning at the start (ASVS 6.5.5: ten minutes).
pub const TTL_ADVISED: Duration = Duration::from_secs(600);
/// The shortest life that a caller may give a single code.
pub const TTL_OVERRIDE_MIN: Duration = Duration::from_secs(30);
/// Wrong attempts per code.
pub const ATTEMPTS: RangeInclusive<u8> = 1..=10;
/// Wrong attempts per address in a rolling day. NIST 63B allows 100 in a row at the most.
pub const FAILURES_PER_DAY: RangeInclusive<u8> = 1..=100;
/// Consecutive wrong attempts per address, over any time. NIST 63B §5.2.2: no more than 100.
pub const CONSECUTIVE_FAILURES: RangeInclusive<u8> = 1..=100;
/// Time between two mails to an address.
pub const COOL_DOWN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// Mails to an address in a rolling hour, and in a rolling day.
pub const MAILS: RangeInclusive<u32> = 1..=1_000;
/// Live sessions of an address. More than ten would only be work for whoever scans them.
pub const LIVE_SESSIONS: RangeInclusive<u8> = 1..=10;
/// Issues of a client in a rolling hour.
pub const CLIENT_PER_HOUR: RangeInclusive<u32> = 1..=1_000_000;
/// Live sessions in all. At the top the sessions alone take about 13 GB.
pub const CAPACITY: RangeInclusive<u32> = 1..=100_000_000;
/// Addresses, clients and ended sessions that are remembered, each.
pub const REMEMBERED: RangeInclusive<u32> = 1..=1_000_000_000;

/// An ended session is remembered for this long after its code's own life.
pub const REMEMBER: Duration = Duration::from_secs(600);
/// How often a day the budget of a failed mail is given back to an address.
pub const REFUNDS_PER_DAY: usize = 3;
/// The rolling hour.
pub const HOUR: Duration = Duration::from_secs(3_600);
/// The rolling day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// What is allowed, how often, and for how long. [`Policy::check`] makes sure that it holds together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Digits of a code, within [`DIGITS`]. Default 6.
    pub digits: u8,
    /// Life of a code, within [`TTL`]. Default 600 s (ASVS 6.5.5).
    pub ttl: Duration,
    /// Wrong attempts per code, within [`ATTEMPTS`]. Default 5.
    pub attempts: u8,
    /// Wrong attempts per address in any 24 h, over all sessions, purposes and re-sends, within
    /// [`FAILURES_PER_DAY`]. Default 10 (RFC 4226 §7.3 counts across sessions; NIST 63B-4: a new
    /// code shall not reset the count).
    pub failures_per_day: u8,
    /// Consecutive wrong attempts per address before only an operator can unlock it, within
    /// [`CONSECUTIVE_FAILURES`]. Default 100 (NIST 63B §5.2.2).
    pub consecutive_failures: u8,
    /// Time between two mails to an address, within [`COOL_DOWN`]. Default 60 s.
    pub cool_down: Duration,
    /// Mails to an address in any hour, within [`MAILS`]. Default 5 (OWASP Forgot Password).
    pub mails_per_hour: u32,
    /// Mails to an address in any 24 h, within [`MAILS`]. Default 10 (OWASP Forgot Password).
    pub mails_per_day: u32,
    /// Live sessions of an address, within [`LIVE_SESSIONS`]. Default 3: with one, a stranger's
    /// request would cancel the owner's code.
    pub live_sessions: u8,
    /// Issues of a client in any hour, within [`CLIENT_PER_HOUR`]. Default 60.
    pub client_per_hour: u32,
    /// Live sessions in all, within [`CAPACITY`]. Default 1,000,000.
    pub capacity: u32,
    /// Addresses, clients and ended sessions remembered, each, within [`REMEMBERED`]. Default
    /// 10,000,000; an address takes about 50 bytes.
    pub remembered: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            digits: 6,
            ttl: TTL_ADVISED,
            attempts: 5,
            failures_per_day: 10,
            consecutive_failures: 100,
            cool_down: Duration::from_secs(60),
            mails_per_hour: 5,
            mails_per_day: 10,
            live_sessions: 3,
            client_per_hour: 60,
            capacity: 1_000_000,
            remembered: 10_000_000,
        }
    }
}

impl Policy {
    /// Looks for settings that contradict each other. Ranges are the command line's to check.
    ///
    /// # Errors
    /// A sentence that names the two settings; whoever configured them is at fault.
    pub fn check(&self) -> Result<(), String> {
        if self.attempts > self.failures_per_day {
            return Err(format!(
                "`--attempts {}` is more than `--failures-per-day {}` allows: no code could have them all",
                self.attempts, self.failures_per_day
            ));
        }
        if self.mails_per_hour > self.mails_per_day {
            return Err(format!(
                "`--mails-per-hour {}` is more than `--mails-per-day {}` allows",
                self.mails_per_hour, self.mails_per_day
            ));
        }
        Ok(())
    }

    /// What is allowed but deserves a second thought, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.ttl > TTL_ADVISED {
            warnings.push(format!(
                "codes live {} s, longer than the {} s that ASVS 5.0 6.5.5 allows",
                self.ttl.as_secs(),
                TTL_ADVISED.as_secs()
            ));
        }
        if self.cool_down >= self.ttl {
            warnings.push(format!(
                "the cool-down of {} s is no shorter than a code's life of {} s: nothing can be sent again in time",
                self.cool_down.as_secs(),
                self.ttl.as_secs()
            ));
        }
        warnings
    }

    /// What a guesser can reach under this policy.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let codes = 10_u64.pow(u32::from(self.digits));
        let day = u64::from(self.failures_per_day);
        Figures {
            per_code: Chance {
                guesses: u64::from(self.attempts.min(self.consecutive_failures)),
                codes,
            },
            per_day: Chance { guesses: day, codes },
            per_year: Chance { guesses: 365 * day, codes },
            before_lock: Chance { guesses: u64::from(self.consecutive_failures), codes },
        }
    }
}

/// A number of guesses against a number of equally likely codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    /// Guesses that are compared at the most.
    pub guesses: u64,
    /// Codes that could be right, all equally likely.
    pub codes: u64,
}

impl Chance {
    /// The chance that at least one guess is right, as `1 in N`. It is `guesses / codes` at the most,
    /// whether all meet one code or each one of its own, and N is rounded down, so that the chance is
    /// never understated.
    #[must_use]
    pub const fn one_in(self) -> u64 {
        self.codes / self.guesses
    }
}

/// The figures that follow from a [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Against one code.
    pub per_code: Chance,
    /// Against one address in any 24 h. The headline.
    pub per_day: Chance,
    /// Against one address in 365 days, if its owner verifies often enough that the lock for
    /// consecutive failures never closes.
    pub per_year: Chance,
    /// Against one address whose owner never verifies, until an operator unlocks it.
    pub before_lock: Chance,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_follows_from_the_defaults() {
        let figures = Policy::default().figures();
        assert_eq!((figures.per_day.guesses, figures.per_day.one_in()), (10, 100_000));
        assert_eq!((figures.per_code.guesses, figures.per_code.one_in()), (5, 200_000));
        assert_eq!((figures.per_year.guesses, figures.per_year.one_in()), (3_650, 273));
        let six = Policy { attempts: 6, ..Policy::default() };
        assert_eq!(six.figures().per_code.one_in(), 166_666);
        assert_eq!((figures.before_lock.guesses, figures.before_lock.one_in()), (100, 10_000));
    }

    #[test]
    fn the_defaults_hold_together_and_contradictions_are_named() {
        assert_eq!(Policy::default().check(), Ok(()));
        assert!(Policy::default().warnings().is_empty());
        let attempts = Policy { attempts: 10, failures_per_day: 9, ..Policy::default() };
        assert!(attempts.check().is_err_and(|why| why.contains("--failures-per-day 9")));
        let mails = Policy { mails_per_hour: 11, ..Policy::default() };
        assert!(mails.check().is_err_and(|why| why.contains("--mails-per-day 10")));
    }

    #[test]
    fn a_long_life_and_a_long_cool_down_are_warned_of() {
        let policy = Policy { ttl: Duration::from_secs(601), ..Policy::default() };
        assert_eq!(policy.warnings().len(), 1);
        let policy = Policy { cool_down: Duration::from_secs(600), ..Policy::default() };
        assert_eq!(policy.warnings().len(), 1);
    }
}
