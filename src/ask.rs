//! A person and a code: `otpd ask`.
//!
//! [`visit`] is what is asked and what came of it, over the same service as `serve`. At a terminal
//! there is a [`form`] with a box for each digit ([`boxes`], drawn by [`screen`] on a [`terminal`],
//! typed into by [`keys`]); in its plain mode, and for scripts, there are [`lines`].

pub mod boxes;
pub mod form;
pub mod keys;
pub mod lines;
pub mod screen;
pub mod signals;
pub mod terminal;
pub mod visit;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use smallvec::SmallVec;

use crate::mail::post::Post;
use signals::Signals;
use visit::Visit;

/// What a terminal is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Show {
    /// Whether colours are wanted.
    pub colour: bool,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
}

/// Waits for input, signals and mail, at most for `longest`. True if there is input, or its end.
fn wait(
    input: Option<BorrowedFd<'_>>,
    signals: &Signals,
    visit: Option<&Visit>,
    longest: Option<Duration>,
) -> io::Result<bool> {
    let mut fds: SmallVec<[PollFd<'_>; 3]> = SmallVec::new();
    fds.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
    let post = visit.and_then(Visit::post);
    if let Some(post) = post {
        fds.push(PollFd::from_borrowed_fd(post.as_fd(), PollFlags::IN));
    }
    let at = fds.len();
    if let Some(input) = input {
        fds.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
    }
    let stale = post.and_then(Post::next_stale).zip(visit).map(|(at, it)| it.now().until(at));
    let longest = [longest, stale].into_iter().flatten().min();
    let timeout = longest.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(err) => return Err(err.into()),
    }
    Ok(fds.get(at).is_some_and(|fd| !fd.revents().is_empty()))
}
