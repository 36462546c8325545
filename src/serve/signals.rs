//! SIGTERM, SIGINT and SIGHUP: the first asks for an orderly end, the second is the end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

/// The signals, as something that can be polled.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// From here on, the first signal makes [`Signals::as_fd`] readable and the second ends the
    /// process with 128 and its number.
    ///
    /// # Errors
    /// What the system says.
    pub fn register() -> io::Result<Self> {
        let (wake, ring) = UnixStream::pair()?;
        let number = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            // In this order: a signal ends the process only if one was seen before it.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&seen),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&seen))?;
            let value = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&number), value)?;
            signal_hook::low_level::pipe::register(signal, ring.try_clone()?)?;
        }
        // A file that may not grow is an error of its write, not a reason to be killed.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        // Some parents ignore the end of their children and hand that on; ours must be waited for.
        signal_hook::flag::register(SIGCHLD, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { wake, number })
    }

    /// The number of the signal that was received, if one was.
    #[must_use]
    pub fn received(&self) -> Option<i32> {
        i32::try_from(self.number.load(Ordering::Relaxed)).ok().filter(|number| *number != 0)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
