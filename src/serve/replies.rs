//! Replies on their way to stdout, which is never waited for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, ReadWriteFlags};

/// Bytes of replies that wait for a slow reader. When they are more, no further commands are taken.
pub const REPLIES_MAX: usize = 64 << 20;

/// Bytes that are written even while there is more to do.
const FLUSH_AT: usize = 65_536;

/// A pipe that can be written to takes this much without waiting (`PIPE_BUF` on Linux).
const PIPE_BUF: usize = 4_096;

/// Room that is kept when nothing waits; what a burst needed beyond that is given back.
const ROOM_KEPT: usize = 1 << 20;

/// How to write without waiting. The descriptor may be shared with other processes, so that its
/// own non-blocking flag is not ours to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// A file, which never makes anybody wait for its reader; and a terminal opened anew, so that
    /// its non-blocking flag is ours alone.
    Plain,
    /// A pipe or socket: one call that takes what there is room for (Linux 6.4 for pipes).
    NoWait,
    /// Asking first and writing no more than surely fits: pipes of older kernels, and terminals
    /// that can't be opened anew.
    Careful(usize),
}

/// Replies that were not written yet.
#[derive(Debug)]
pub struct Replies {
    queue: Vec<u8>,
    written: usize,
    /// Bytes that were held when writing was last tried.
    tried: usize,
    manner: Manner,
    terminal: Option<OwnedFd>,
}

impl Replies {
    /// Replies to this process's stdout.
    ///
    /// # Errors
    /// If stdout was closed when the process started.
    pub fn to_stdout() -> io::Result<Self> {
        let stat = rustix::fs::fstat(rustix::stdio::stdout())?;
        if was_closed(&stat)? {
            return Err(io::Error::other(
                "it is closed, or /dev/null opened for reading too: no reply would reach anybody",
            ));
        }
        let is_terminal = rustix::termios::isatty(rustix::stdio::stdout());
        let terminal = is_terminal.then(reopened_terminal).flatten();
        let manner = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo | FileType::Socket => Manner::NoWait,
            FileType::CharacterDevice if is_terminal && terminal.is_none() => Manner::Careful(1),
            _ => Manner::Plain,
        };
        Ok(Self { queue: Vec::new(), written: 0, tried: 0, manner, terminal })
    }

    /// Where replies are put.
    pub const fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.queue
    }

    /// Whether so much has come since writing was last tried that it is worth another call.
    #[must_use]
    pub const fn are_due(&self) -> bool {
        self.queue.len() - self.tried >= FLUSH_AT
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.queue.len() - self.written
    }

    /// Bytes that are held in memory: those that wait, and those before them that were written.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.queue.len()
    }

    /// Whether so much is held that no further commands must be taken.
    #[must_use]
    pub const fn are_full(&self) -> bool {
        self.held() >= REPLIES_MAX
    }

    /// Writes what can be written without waiting.
    ///
    /// # Errors
    /// What the system says when stdout is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.waiting() > 0 {
            let stdout = match &self.terminal {
                Some(terminal) => terminal.as_fd(),
                None => rustix::stdio::stdout(),
            };
            match self.write(stdout) {
                Ok(count) => self.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::OPNOTSUPP) if self.manner == Manner::NoWait => {
                    self.manner = Manner::Careful(PIPE_BUF);
                }
                Err(err) => return Err(err.into()),
            }
        }
        if self.waiting() == 0 {
            self.queue.clear();
            self.queue.shrink_to(ROOM_KEPT);
            self.written = 0;
        } else if self.written > self.queue.len() / 2 {
            self.queue.drain(..self.written);
            self.written = 0;
        }
        self.tried = self.queue.len();
        Ok(())
    }

    fn write(&self, stdout: BorrowedFd<'_>) -> rustix::io::Result<usize> {
        let bytes = &self.queue[self.written..];
        match self.manner {
            Manner::Plain => rustix::io::write(stdout, bytes),
            Manner::NoWait => {
                let slices = [io::IoSlice::new(bytes)];
                // An offset of -1 is the place where the stream is.
                rustix::io::pwritev2(stdout, &slices, u64::MAX, ReadWriteFlags::NOWAIT)
            }
            Manner::Careful(most) => {
                let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
                poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
                if fds[0].revents().is_empty() {
                    return Err(Errno::AGAIN);
                }
                rustix::io::write(stdout, &bytes[..bytes.len().min(most)])
            }
        }
    }
}

/// The terminal that stdout is, opened once more and non-blocking: a terminal that can be written to
/// takes one byte without waiting, but promises no more.
fn reopened_terminal() -> Option<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()).ok()
}

/// Whether stdout was closed when the process started. Rust's runtime opens `/dev/null` for reading
/// and writing over a closed one before any code of ours runs, and leaves no other trace; whoever
/// throws replies away on purpose (`>/dev/null`) opens it for writing only.
fn was_closed(stdout: &Stat) -> io::Result<bool> {
    let null = rustix::fs::stat("/dev/null")?;
    let flags = rustix::fs::fcntl_getfl(rustix::stdio::stdout())?;
    let is_null = FileType::from_raw_mode(stdout.st_mode) == FileType::CharacterDevice
        && stdout.st_rdev == null.st_rdev;
    Ok(is_null && flags.contains(OFlags::RDWR))
}
