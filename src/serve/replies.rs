//! Replies on their way to stdout, which is never waited for.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};

/// Bytes of replies that wait for a slow reader. When they are more, no further commands are taken.
pub const REPLIES_MAX: usize = 64 << 20;

/// A pipe that can be written to takes this much without waiting (`PIPE_BUF` on Linux).
const PIPE_BUF: usize = 4_096;

/// Room that is kept when nothing waits; what a burst needed beyond that is given back.
const ROOM_KEPT: usize = 1 << 20;

/// How to write without waiting. The descriptor may be shared with other processes, so that its
/// own non-blocking flag is not ours to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// A file, which never makes anybody wait for its reader.
    Plain,
    /// A pipe or socket: one call that takes what there is room for (Linux 6.4 for pipes).
    NoWait,
    /// Asking first and writing little: terminals, and pipes of older kernels.
    Careful,
}

/// Replies that were not written yet.
#[derive(Debug)]
pub struct Replies {
    queue: Vec<u8>,
    written: usize,
    manner: Manner,
}

impl Replies {
    /// Replies to this process's stdout.
    #[must_use]
    pub fn to_stdout() -> Self {
        let stat = rustix::fs::fstat(rustix::stdio::stdout());
        let manner = match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Fifo | FileType::Socket) => Manner::NoWait,
            Ok(FileType::CharacterDevice) => Manner::Careful,
            _ => Manner::Plain,
        };
        Self { queue: Vec::new(), written: 0, manner }
    }

    /// Where replies are put.
    pub const fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.queue
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.queue.len() - self.written
    }

    /// Whether so much waits that no further commands must be taken.
    #[must_use]
    pub const fn are_full(&self) -> bool {
        self.waiting() >= REPLIES_MAX
    }

    /// Writes what can be written without waiting.
    ///
    /// # Errors
    /// What the system says when stdout is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.waiting() > 0 {
            match self.write(rustix::stdio::stdout()) {
                Ok(count) => self.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::OPNOTSUPP) if self.manner == Manner::NoWait => {
                    self.manner = Manner::Careful;
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
            Manner::Careful => {
                let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
                poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
                if fds[0].revents().is_empty() {
                    return Err(Errno::AGAIN);
                }
                rustix::io::write(stdout, &bytes[..bytes.len().min(PIPE_BUF)])
            }
        }
    }
}
