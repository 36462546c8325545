//! Waiting, with an end.

use std::io;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

use crate::clock::{Clock, Moment};

/// Waits until one of the descriptors is ready. False if the deadline came first.
///
/// # Errors
/// What the system said.
pub fn ready(fds: &mut [PollFd<'_>], clock: &dyn Clock, deadline: Moment) -> io::Result<bool> {
    loop {
        let left = clock.now().until(deadline);
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(fds, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(err) => return Err(err.into()),
        }
    }
}
