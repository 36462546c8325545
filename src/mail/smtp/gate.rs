//! Keeps a refused log-in from being tried over and over: servers lock accounts for that.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fault::{Cause, Fault};
use crate::clock::{Clock, Moment};

/// How long after a log-in was refused the next is tried.
const HOLD_OFF: Duration = Duration::from_secs(60);

/// The gate before the log-in of one relay, for all connections to it.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    /// Nobody knows whether the password is right: one connection tries at a time.
    #[default]
    Unknown,
    /// One does.
    Tried,
    /// It is right.
    Right,
    /// It was refused, and is until then.
    Refused(Fault, Moment),
}

impl Gate {
    /// Logs in by `log_in`, unless that was refused less than a minute ago.
    ///
    /// # Errors
    /// [`Fault`]: of this attempt, or of the one that was refused.
    pub fn pass<T>(
        &self,
        clock: &dyn Clock,
        deadline: Moment,
        late: Fault,
        log_in: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.wait(clock, deadline, late)?;
        let done = log_in();
        *self.state() = match &done {
            Ok(_) => State::Right,
            Err(fault) if matches!(&fault.cause, Cause::Refused(no) if no.code / 100 == 5) => {
                State::Refused(fault.clone(), clock.now() + HOLD_OFF)
            }
            Err(_) => State::Unknown,
        };
        self.changed.notify_all();
        done
    }

    /// The refusal that holds everybody off, if there is one.
    pub fn refusal(&self, now: Moment) -> Option<Fault> {
        match &*self.state() {
            State::Refused(fault, until) if now < *until => Some(fault.clone()),
            _ => None,
        }
    }

    fn wait(&self, clock: &dyn Clock, deadline: Moment, late: Fault) -> Result<(), Fault> {
        let mut state = self.state();
        loop {
            let now = clock.now();
            match &*state {
                State::Right => return Ok(()),
                State::Refused(fault, until) if now < *until => return Err(fault.clone()),
                State::Refused(..) | State::Unknown => {
                    *state = State::Tried;
                    return Ok(());
                }
                State::Tried if now >= deadline => return Err(late),
                State::Tried => {
                    let left = now.until(deadline);
                    let waited = self.changed.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::smtp::fault::Step;
    use crate::mail::smtp::reply::Reply;
    use crate::simulate::StoppedClock;

    fn refused(code: u16) -> Fault {
        Fault::refused(Step::LogIn, Reply { code, lines: Vec::new() })
    }

    fn try_it(
        gate: &Gate,
        clock: &StoppedClock,
        outcome: Result<(), Fault>,
    ) -> (bool, Option<Fault>) {
        let mut tried = false;
        let late = Fault { step: Step::LogIn, cause: Cause::Late };
        let log_in = || {
            tried = true;
            outcome
        };
        let done = gate.pass(clock, clock.now() + Duration::from_secs(1), late, log_in);
        (tried, done.err())
    }

    #[test]
    fn a_refused_log_in_is_tried_once_a_minute() {
        let (gate, clock) = (Gate::default(), StoppedClock::default());
        assert_eq!(try_it(&gate, &clock, Err(refused(535))), (true, Some(refused(535))));
        clock.advance(Duration::from_millis(59_999));
        assert_eq!(try_it(&gate, &clock, Ok(())), (false, Some(refused(535))));
        clock.advance(Duration::from_millis(1));
        assert_eq!(try_it(&gate, &clock, Err(refused(535))), (true, Some(refused(535))));
        assert_eq!(try_it(&gate, &clock, Ok(())), (false, Some(refused(535))));
        clock.advance(HOLD_OFF);
        assert_eq!(try_it(&gate, &clock, Ok(())), (true, None));
        assert_eq!(try_it(&gate, &clock, Ok(())), (true, None));
    }

    #[test]
    fn what_says_nothing_about_the_password_holds_nobody_off() {
        let (gate, clock) = (Gate::default(), StoppedClock::default());
        assert_eq!(try_it(&gate, &clock, Err(refused(454))), (true, Some(refused(454))));
        assert_eq!(try_it(&gate, &clock, Ok(())), (true, None));
    }

    #[test]
    fn one_connection_tries_and_the_others_wait_for_what_becomes_of_it() {
        let (gate, clock) = (Gate::default(), crate::system::SystemClock::start());
        let tries = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let late = Fault { step: Step::LogIn, cause: Cause::Late };
                    let deadline = clock.now() + Duration::from_secs(60);
                    let log_in = || {
                        tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        Err::<(), Fault>(refused(535))
                    };
                    assert_eq!(gate.pass(&clock, deadline, late, log_in), Err(refused(535)));
                });
            }
        });
        assert_eq!(tries.into_inner(), 1);
    }
}
