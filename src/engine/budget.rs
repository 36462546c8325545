//! What an address, or a client, may still do.
//!
//! Windows are rolling: an event counts while it is younger than the window. Nothing here is reset
//! by a new code, a re-send, an expiry or a success, except that a success ends a row of failures.

use std::hint::black_box;
use std::time::Duration;

use smallvec::SmallVec;

use super::policy::{DAY, HOUR, Policy, REFUNDS_PER_DAY};
use super::{Limit, Refusal};
use crate::clock::Moment;

/// What is remembered of one address: 16 bytes, since there is one for every address seen in a day
/// and most have had one mail and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// When the latest mail was counted.
    mail: Option<Moment>,
    more: Option<Box<More>>,
}

/// What most addresses never have. Times, oldest first.
#[derive(Clone, Debug, Default)]
struct More {
    /// Mails before the latest.
    mails: Vec<Moment>,
    /// Three times lie in the block itself, which with them takes 96 bytes of the allocator's.
    failures: SmallVec<[Moment; 3]>,
    refunds: Vec<Moment>,
    consecutive: u8,
}

impl Ledger {
    /// Whether wrong codes have locked this address.
    ///
    /// # Errors
    /// [`Refusal::Locked`], with the wait until the lock opens, or without one if only an operator
    /// can open it.
    pub fn check_lock(&self, now: Moment, policy: &Policy) -> Result<(), Refusal> {
        let Some(more) = &self.more else {
            return Ok(());
        };
        if more.consecutive >= policy.consecutive_failures {
            return Err(Refusal::Locked { retry_in: None });
        }
        let limit = usize::from(policy.failures_per_day);
        match wait(nth_latest(&more.failures, limit), now, DAY) {
            Duration::ZERO => Ok(()),
            retry_in => Err(Refusal::Locked { retry_in: Some(retry_in) }),
        }
    }

    /// How long until this address may have another mail, and the limit that says so: the one with
    /// the longest wait, if several do.
    #[must_use]
    pub fn mail_wait(&self, now: Moment, policy: &Policy) -> (Duration, Limit) {
        let wait = |limit, window| wait(self.nth_latest_mail(limit), now, window);
        [
            (wait(1, policy.cool_down), Limit::Cooldown),
            (wait(policy.mails_per_hour, HOUR), Limit::AddressHour),
            (wait(policy.mails_per_day, DAY), Limit::AddressDay),
        ]
        .into_iter()
        .max_by_key(|(wait, _)| *wait)
        .unwrap_or((Duration::ZERO, Limit::Cooldown))
    }

    /// How long until a `resend` would be accepted: the mail budgets, and a lock that opens by itself.
    #[must_use]
    pub fn resend_wait(&self, now: Moment, policy: &Policy) -> Duration {
        let (mail, _) = self.mail_wait(now, policy);
        match self.check_lock(now, policy) {
            Err(Refusal::Locked { retry_in: Some(lock) }) => mail.max(lock),
            _ => mail,
        }
    }

    fn nth_latest_mail(&self, n: u32) -> Option<Moment> {
        match n.checked_sub(2) {
            None => self.mail,
            Some(n) => nth_latest(&self.more.as_deref()?.mails, n as usize + 1),
        }
    }

    /// Counts a mail that is about to be sent.
    pub fn spend_mail(&mut self, now: Moment) {
        if let Some(more) = &mut self.more {
            more.mails.retain(|&mail| is_within(mail, now, DAY));
        }
        if let Some(mail) = self.mail.replace(now).filter(|&mail| is_within(mail, now, DAY)) {
            self.more.get_or_insert_default().mails.push(mail);
        }
    }

    /// Gives back the mail counted at `at`, which certainly failed. False if it may not, and neither
    /// what goes with it: more than [`REFUNDS_PER_DAY`] are not given back, so that failing mails
    /// can't be asked for without end. (An operator may have cleared it meanwhile.)
    pub fn give_back(&mut self, at: Moment, now: Moment) -> bool {
        let earlier = self.more.as_ref().map_or(&[][..], |more| &more.mails);
        let place = earlier.iter().rposition(|&mail| mail == at);
        let is_latest = self.mail == Some(at);
        if !is_latest && place.is_none() {
            return false;
        }
        let more = self.more.get_or_insert_default();
        more.refunds.retain(|&refund| is_within(refund, now, DAY));
        if more.refunds.len() >= REFUNDS_PER_DAY {
            return false;
        }
        more.refunds.push(now);
        match place {
            Some(place) if !is_latest => {
                more.mails.remove(place);
            }
            _ => self.mail = more.mails.pop(),
        }
        true
    }

    /// Counts a guess as wrong before it is compared; [`Ledger::clear_guess`] takes that back.
    pub fn count_guess(&mut self, now: Moment) {
        let more = self.more.get_or_insert_default();
        more.failures.retain(|failure| is_within(*failure, now, DAY));
        more.failures.push(now);
        more.consecutive = more.consecutive.saturating_add(1);
    }

    /// The guess just counted was right: it was no failure, and it ends the row of them. What the
    /// window holds besides stays.
    pub fn clear_guess(&mut self) {
        if let Some(more) = &mut self.more {
            more.failures.pop();
            more.consecutive = 0;
        }
    }

    /// An operator clears everything.
    pub fn unlock(&mut self) {
        *self = Self::default();
    }

    /// From when on nothing here would decide anything any more. A row of failures is not forgotten
    /// with time: while there is one, it is worth another look in a day.
    #[must_use]
    pub fn spent_at(&self, now: Moment) -> Moment {
        let end = |times: &[Moment]| times.last().map_or(Moment::START, |&last| last + DAY);
        let more = self.more.as_deref().map_or(Moment::START, |more| {
            let row = if more.consecutive > 0 { now + DAY } else { Moment::START };
            end(&more.failures).max(end(&more.refunds)).max(row)
        });
        end(self.mail.as_slice()).max(more)
    }

    /// Reads a little of this, which gets it near.
    pub fn foresee(&self) {
        black_box(self.more.is_some());
    }

    /// As [`Ledger::foresee`], of what it leads to.
    pub fn foresee_more(&self) {
        if let Some(more) = &self.more {
            black_box((more.consecutive, more.failures.last()));
        }
    }
}

/// What is remembered of one client: when it asked for codes.
#[derive(Clone, Debug, Default)]
pub struct ClientLedger {
    issues: SmallVec<[Moment; 2]>,
}

impl ClientLedger {
    /// How long until this client may ask for another code.
    #[must_use]
    pub fn wait(&self, now: Moment, policy: &Policy) -> Duration {
        let limit = usize::try_from(policy.client_per_hour).unwrap_or(usize::MAX);
        wait(nth_latest(&self.issues, limit), now, HOUR)
    }

    /// Counts an issue.
    pub fn spend(&mut self, now: Moment) {
        if self.issues.first().is_some_and(|&first| !is_within(first, now, HOUR)) {
            self.issues.retain(|issue| is_within(*issue, now, HOUR));
        }
        self.issues.push(now);
    }

    /// Gives back the issue counted at `at`.
    pub fn give_back(&mut self, at: Moment) {
        if let Some(place) = self.issues.iter().rposition(|&issue| issue == at) {
            self.issues.remove(place);
        }
    }

    /// From when on nothing here would decide anything any more.
    #[must_use]
    pub fn spent_at(&self) -> Moment {
        self.issues.last().map_or(Moment::START, |&last| last + HOUR)
    }
}

/// How long until the event that decides, if there is one, is older than `window`: the nth latest,
/// where `n` are allowed.
fn wait(decisive: Option<Moment>, now: Moment, window: Duration) -> Duration {
    decisive.map_or(Duration::ZERO, |event| now.until(event + window))
}

/// The nth latest of times that stand oldest first; the first is the latest.
fn nth_latest(times: &[Moment], n: usize) -> Option<Moment> {
    times.len().checked_sub(n).and_then(|at| times.get(at)).copied()
}

fn is_within(event: Moment, now: Moment, window: Duration) -> bool {
    now < event + window
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_millis(secs * 1_000)
    }

    fn wait_at(ledger: &Ledger, secs: u64) -> (u64, Limit) {
        let (wait, limit) = ledger.mail_wait(at(secs), &Policy::default());
        (wait.as_secs(), limit)
    }

    #[test]
    fn the_longest_wait_is_the_one_that_is_told() {
        let mut ledger = Ledger::default();
        assert_eq!(wait_at(&ledger, 0).0, 0);
        for minute in 0..5 {
            ledger.spend_mail(at(60 * minute));
            assert_eq!(wait_at(&ledger, 60 * minute + 1).1 == Limit::Cooldown, minute < 4);
        }
        assert_eq!(wait_at(&ledger, 240), (3_360, Limit::AddressHour));
        assert_eq!(wait_at(&ledger, 3_600).0, 0);
        for minute in 60..65 {
            ledger.spend_mail(at(60 * minute));
        }
        assert_eq!(wait_at(&ledger, 3_840), (86_400 - 3_840, Limit::AddressDay));
        assert_eq!(wait_at(&ledger, 86_400).0, 0);
    }

    #[test]
    fn an_event_counts_until_it_is_as_old_as_the_window() {
        let mut ledger = Ledger::default();
        ledger.spend_mail(at(0));
        assert_eq!(
            ledger.mail_wait(Moment::from_millis(59_999), &Policy::default()).0.as_millis(),
            1
        );
        assert_eq!(wait_at(&ledger, 60).0, 0);
    }

    #[test]
    fn a_failed_mail_is_given_back_three_times_a_day() {
        let mut ledger = Ledger::default();
        for second in 0..3 {
            ledger.spend_mail(at(second));
            assert!(ledger.give_back(at(second), at(second)));
            assert_eq!(wait_at(&ledger, second).0, 0);
        }
        ledger.spend_mail(at(3));
        assert!(!ledger.give_back(at(3), at(3)));
        assert_eq!(wait_at(&ledger, 3), (60, Limit::Cooldown));
        ledger.spend_mail(at(86_400));
        assert!(ledger.give_back(at(86_400), at(86_400)));
    }

    #[test]
    fn ten_failures_lock_for_the_rest_of_the_oldest_ones_day() {
        let mut ledger = Ledger::default();
        let policy = Policy::default();
        for second in 0..10 {
            assert_eq!(ledger.check_lock(at(second), &policy), Ok(()));
            ledger.count_guess(at(second));
        }
        let locked = |secs| Err(Refusal::Locked { retry_in: Some(Duration::from_secs(secs)) });
        assert_eq!(ledger.check_lock(at(10), &policy), locked(86_390));
        assert_eq!(ledger.check_lock(at(86_399), &policy), locked(1));
        assert_eq!(ledger.check_lock(at(86_400), &policy), Ok(()));
        ledger.count_guess(at(86_400));
        assert_eq!(ledger.check_lock(at(86_400), &policy), locked(1));
    }

    #[test]
    fn a_success_ends_the_row_of_failures_but_empties_no_window() {
        let mut ledger = Ledger::default();
        let policy = Policy { consecutive_failures: 3, failures_per_day: 4, ..Policy::default() };
        for right in [false, false, true, false, false] {
            ledger.count_guess(at(0));
            if right {
                ledger.clear_guess();
            }
        }
        assert!(matches!(
            ledger.check_lock(at(1), &policy),
            Err(Refusal::Locked { retry_in: Some(_) })
        ));
        ledger.count_guess(at(86_400));
        assert_eq!(
            ledger.check_lock(at(999_999), &policy),
            Err(Refusal::Locked { retry_in: None })
        );
        assert!(ledger.spent_at(at(999_999)) > at(999_999), "a row of failures is never forgotten");
        ledger.unlock();
        assert_eq!(ledger.check_lock(at(999_999), &policy), Ok(()));
        assert_eq!(ledger.spent_at(at(999_999)), Moment::START);
    }

    #[test]
    fn a_client_has_its_issues_in_any_hour() {
        let mut client = ClientLedger::default();
        let policy = Policy { client_per_hour: 2, ..Policy::default() };
        client.spend(at(0));
        client.spend(at(10));
        assert_eq!(client.wait(at(10), &policy).as_secs(), 3_590);
        client.give_back(at(10));
        assert_eq!(client.wait(at(10), &policy).as_secs(), 0);
        client.spend(at(20));
        assert_eq!(client.spent_at(), at(3_620));
    }
}
