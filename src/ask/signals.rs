//! The signals that a program at a terminal must answer itself, as something that can be polled.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};

/// What the system asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The end, by the signal of this number.
    End(i32),
    /// To stop until it goes on.
    Stop,
    /// To look again: it goes on, or the window has another size.
    Look,
}

/// The signals.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    seen: [(i32, Arc<AtomicBool>); 7],
}

impl Signals {
    /// Receives them from here on.
    ///
    /// # Errors
    /// What the system says.
    pub fn register() -> io::Result<Self> {
        let (wake, ring) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let seen = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH]
            .map(|signal| (signal, Arc::new(AtomicBool::new(false))));
        for (signal, seen) in &seen {
            signal_hook::flag::register(*signal, Arc::clone(seen))?;
            signal_hook::low_level::pipe::register(*signal, ring.try_clone()?)?;
        }
        // Some parents ignore the end of their children and hand that on; ours must be waited for.
        signal_hook::flag::register(SIGCHLD, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { wake, seen })
    }

    /// What was asked for since the last time, the end before everything else.
    pub fn take(&mut self) -> Option<Wanted> {
        let mut rung = [0; 64];
        while self.wake.read(&mut rung).is_ok_and(|count| count == rung.len()) {}
        let mut wanted = None;
        for (signal, seen) in &self.seen {
            if seen.swap(false, Ordering::Relaxed) {
                wanted = wanted.or(Some(match *signal {
                    SIGTSTP => Wanted::Stop,
                    SIGCONT | SIGWINCH => Wanted::Look,
                    number => Wanted::End(number),
                }));
            }
        }
        wanted
    }
}

/// Stops this process until somebody lets it go on.
///
/// # Errors
/// What the system says.
pub fn stop() -> io::Result<()> {
    Ok(kill_process(getpid(), Signal::STOP)?)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
