//! The machine's own clock and generator, and what is asked of the kernel before anything is read.

use std::io;
use std::time::{Duration, SystemTime};

use rand::TryRng;
use rand::rngs::SysRng;
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::{Clock, Moment, NoRandomness, Random, datable};

/// The boot clock: monotonic, and counting the time a machine sleeps.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Duration,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: since_boot() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::START + since_boot().saturating_sub(self.start)
    }

    fn wall(&self) -> SystemTime {
        datable(SystemTime::now())
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The operating system's generator, asked anew for every draw: no state of ours could be copied
/// with a snapshot of the machine and give the same codes twice.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        SysRng.try_fill_bytes(bytes).map_err(|_| NoRandomness)
    }
}

/// No core dumps, not to be traced by other processes of the same user, and files that nobody else
/// can read, whatever the caller's limits and mask were.
///
/// # Errors
/// What the kernel said. Codes would be at risk, so the caller must not go on.
pub fn protect() -> io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    Ok(())
}

/// Lets the kernel end this process when its parent ends, for parents whose end of the pipe
/// outlives them in other children.
///
/// # Errors
/// What the kernel said, or that the parent has ended already.
pub fn die_with_parent() -> io::Result<()> {
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // A parent that ends between the two calls before this one sends no signal.
    if rustix::process::getppid() != parent {
        return Err(io::Error::other("the parent has ended already"));
    }
    Ok(())
}

/// A panic prints where it happened and nothing else: its message could hold a value.
pub fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        crate::log::to_stderr(&format!("otpd: internal error at {place}; please report it\n"));
    }));
}
