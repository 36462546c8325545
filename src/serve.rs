//! The loop: bytes → lines → commands → replies.
//!
//! One thread reads, decides and answers, so that nothing is handed over on the way and no lock is
//! held. It waits only in `poll`, for input, for room on stdout, and for signals; replies are
//! written whenever it would otherwise wait.

pub mod desk;
mod lines;
mod replies;
mod signals;

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock::{Clock, Moment};
use crate::log::Event;
use desk::Desk;
use lines::{Line, Lines};
use replies::{REPLIES_MAX, Replies};
use signals::Signals;

/// After a signal, this long is waited for replies to be taken.
const GRACE: Duration = Duration::from_secs(5);
/// Records that are forgotten between two waits.
const TIDY_PER_WAIT: usize = 1_024;
/// While anything is kept that time could change, this is the longest wait, so that what is
/// forgotten does not lie in memory until somebody asks again.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The input ended, or a signal asked for it, and everything was answered.
    Done,
    /// Stdin or stdout broke, or its reader did not take the last replies in time.
    Broken,
}

/// Serves stdin and stdout until one of them ends or a signal comes. `clock` bounds the end after
/// a signal; it is never the simulated one.
///
/// # Errors
/// What the system says when signals can't be had or waited for.
pub fn run(desk: &mut Desk, clock: &dyn Clock) -> io::Result<End> {
    let signals = Signals::register()?;
    desk.tell(&Event::Started { via: desk.via() });
    let end = match converse(desk, clock, &signals) {
        Ok(()) => {
            desk.tell_end();
            End::Done
        }
        Err(Stop::Broken(stream, err)) => {
            desk.tell(&Event::Broken { stream, reason: &err.to_string() });
            End::Broken
        }
        Err(Stop::Failed(err)) => return Err(err),
    };
    Ok(end)
}

/// Why the conversation can't go on.
enum Stop {
    /// A stream broke: its name, and what the system said.
    Broken(&'static str, io::Error),
    /// The system refuses to let us wait.
    Failed(io::Error),
}

fn converse(desk: &mut Desk, clock: &dyn Clock, signals: &Signals) -> Result<(), Stop> {
    let mut lines = Lines::new();
    let mut replies = Replies::to_stdout().map_err(|err| Stop::Broken("stdout", err))?;
    let mut ended = false;
    let mut stopped: Option<Moment> = None;
    loop {
        let all_answered = answer(desk, &mut lines, &mut replies, REPLIES_MAX)?;
        lines.wipe();
        flush(&mut replies)?;
        if !all_answered && !replies.are_full() {
            continue;
        }
        if all_answered && replies.waiting() == 0 && (ended || stopped.is_some()) {
            return Ok(());
        }
        let left = stopped.map(|since| clock.now().until(since + GRACE));
        if left.is_some_and(|left| left.is_zero()) {
            let err = io::Error::other("the last replies were not taken in time");
            return Err(Stop::Broken("stdout", err));
        }
        desk.tidy(TIDY_PER_WAIT);
        let want_input = all_answered && !ended && stopped.is_none();
        let longest = left.or_else(|| (!desk.is_empty()).then_some(TIDY_EVERY));
        let ready = wait(signals, want_input, replies.waiting() > 0, stopped.is_some(), longest)?;
        if let (Some(signal), None) = (signals.received(), stopped) {
            desk.tell(&Event::Signalled { signal });
            stopped = Some(clock.now());
            finish(desk, &mut lines, &mut replies)?;
        } else if ready.input {
            ended = !read(&mut lines)?;
        }
        // A parent that is done closes both ends, in any order: that alone breaks nothing.
        if ready.stdout_broke && !ended {
            return Err(Stop::Broken("stdout", io::ErrorKind::BrokenPipe.into()));
        }
    }
}

/// Answers the lines that were read, until `limit` bytes of replies wait. True if that was all.
fn answer(
    desk: &mut Desk,
    lines: &mut Lines,
    replies: &mut Replies,
    limit: usize,
) -> Result<bool, Stop> {
    while replies.held() < limit {
        let number = lines.number() + 1;
        match lines.next() {
            Some(Line::Text(line)) => desk.line(line, number, replies.queue()),
            Some(Line::TooLong(start)) => desk.too_long(start, number, replies.queue()),
            None => return Ok(true),
        }
        if replies.are_due() {
            flush(replies)?;
        }
    }
    Ok(false)
}

/// After a signal: whatever was read is carried out, and a line whose end did not come is not begun.
fn finish(desk: &mut Desk, lines: &mut Lines, replies: &mut Replies) -> Result<(), Stop> {
    answer(desk, lines, replies, usize::MAX)?;
    lines.finish();
    if let Some(Line::Text(line)) = lines.next() {
        desk.shut(line, replies.queue());
    }
    Ok(())
}

fn flush(replies: &mut Replies) -> Result<(), Stop> {
    replies.flush().map_err(|err| Stop::Broken("stdout", err))
}

/// Reads once. False at the end of the input.
fn read(lines: &mut Lines) -> Result<bool, Stop> {
    match rustix::io::read(rustix::stdio::stdin(), lines.room()) {
        Ok(0) => {
            lines.finish();
            Ok(false)
        }
        Ok(count) => {
            lines.add(count);
            Ok(true)
        }
        Err(Errno::INTR | Errno::AGAIN) => Ok(true),
        Err(err) => Err(Stop::Broken("stdin", err.into())),
    }
}

/// What became of one wait.
struct Ready {
    input: bool,
    stdout_broke: bool,
}

fn wait(
    signals: &Signals,
    want_input: bool,
    want_room: bool,
    stopped: bool,
    longest: Option<Duration>,
) -> Result<Ready, Stop> {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let room = if want_room { PollFlags::OUT } else { PollFlags::empty() };
    let mut fds = [
        PollFd::new(signals, PollFlags::IN),
        PollFd::new(&stdout, room),
        PollFd::new(&stdin, PollFlags::IN),
    ];
    // Without a wish for input, stdin is left out: its end would be told again and again.
    // Once stopped, a signal need not be told: the next one ends the process by itself.
    let first = usize::from(stopped);
    let watched = if want_input { &mut fds[first..] } else { &mut fds[first..2] };
    let timeout = longest.and_then(|longest| Timespec::try_from(longest).ok());
    match poll(watched, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(err) => return Err(Stop::Failed(err.into())),
    }
    let broke = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    Ok(Ready {
        input: want_input && !fds[2].revents().is_empty(),
        stdout_broke: fds[1].revents().intersects(broke),
    })
}
