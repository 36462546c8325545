//! The loop: bytes → lines → commands → replies.
//!
//! One thread reads, decides and answers, so that nothing is handed over on the way. It waits only in
//! `poll`: for input, for room on stdout, for mail that has fared somehow, and for signals. Replies
//! are written whenever it would otherwise wait.

pub mod desk;
mod lines;
mod replies;
mod signals;

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use smallvec::SmallVec;

use crate::clock::{Clock, Moment};
use crate::log::Event;
use crate::mail::post::Post;
use desk::Desk;
use lines::{Line, Lines};
use replies::{REPLIES_MAX, Replies};
use signals::Signals;

/// After a signal, this long is waited for replies to be taken.
const GRACE: Duration = Duration::from_secs(5);
/// After a signal, this long is waited for mail that is under way.
const MAIL_GRACE: Duration = Duration::from_millis(4_500);
/// When the reader has gone, this long is waited for the writer to go as well.
const PARTING: Duration = Duration::from_secs(1);
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
            linger(desk, clock)?;
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
    let mut deserted: Option<Moment> = None;
    loop {
        desk.collect(replies.queue());
        let all_answered = answer(desk, &mut lines, &mut replies, REPLIES_MAX)?;
        lines.wipe();
        flush(&mut replies)?;
        if !all_answered && !replies.are_full() && !desk.is_full() {
            continue;
        }
        let is_over = all_answered && (ended || stopped.is_some());
        if is_over && desk.is_idle() && replies.waiting() == 0 {
            return Ok(());
        }
        let left = |grace| stopped.map(|since| clock.now().until(since + grace));
        if left(GRACE).is_some_and(|left| left.is_zero()) {
            let err = io::Error::other("the last replies were not taken in time");
            return Err(Stop::Broken("stdout", err));
        }
        if !desk.is_idle() && left(MAIL_GRACE).is_some_and(|left| left.is_zero()) {
            desk.give_up(replies.queue());
            continue;
        }
        let is_behind = desk.tidy(TIDY_PER_WAIT);
        let tidy = match is_behind {
            true => Some(Duration::ZERO),
            false => (!desk.is_empty()).then_some(TIDY_EVERY),
        };
        let stale = desk.post().and_then(Post::next_stale).map(|at| clock.now().until(at));
        let mail = left(MAIL_GRACE).filter(|_| !desk.is_idle());
        let alone = deserted.filter(|_| !ended).map(|since| clock.now().until(since + PARTING));
        let ready = wait(&Wish {
            signals: stopped.is_none().then_some(signals),
            input: all_answered && !ended && stopped.is_none(),
            room: replies.waiting() > 0,
            mail: desk.post(),
            stdout: deserted.is_none(),
            longest: [tidy, stale, mail, left(GRACE), alone].into_iter().flatten().min(),
        })?;
        if let (Some(signal), None) = (signals.received(), stopped) {
            desk.tell(&Event::Signalled { signal });
            stopped = Some(clock.now());
            finish(desk, &mut lines, &mut replies)?;
        } else if ready.input {
            ended = !read(&mut lines)?;
        }
        // A parent that is done closes both ends, in any order: that alone breaks nothing. One that
        // goes on speaking, or stays, does.
        if ready.stdout_broke && deserted.is_none() {
            deserted = Some(clock.now());
        }
        let is_left = |since: Moment| clock.now() >= since + PARTING;
        let is_waited_for = lines.has_bytes() || !desk.is_idle() || replies.waiting() > 0;
        if !ended && deserted.is_some_and(|since| is_waited_for || is_left(since)) {
            return Err(Stop::Broken("stdout", io::ErrorKind::BrokenPipe.into()));
        }
    }
}

/// Lets mail that is under way be finished, though nobody will hear of it.
fn linger(desk: &mut Desk, clock: &dyn Clock) -> io::Result<()> {
    let until = clock.now() + GRACE;
    let mut unheard = Vec::new();
    desk.close(None, &mut unheard);
    while let Some(post) = desk.post().filter(|post| post.under_way() > 0) {
        let left = clock.now().until(until);
        if left.is_zero() {
            break;
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(post, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => desk.collect(&mut unheard),
            Err(err) => return Err(err.into()),
        }
        unheard.clear();
    }
    Ok(())
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
        if !desk.next_held(replies.queue()) {
            if limit < usize::MAX && desk.is_full() {
                return Ok(false);
            }
            if let Some(bytes) = lines.ahead() {
                desk.foresee(bytes);
            }
            match lines.next() {
                Some(Line::Text(line)) => desk.line(line, number, replies.queue()),
                Some(Line::TooLong(start)) => desk.too_long(start, number, replies.queue()),
                None => return Ok(true),
            }
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
    let unfinished = match lines.next() {
        Some(Line::Text(line)) => Some(line),
        _ => None,
    };
    desk.close(unfinished, replies.queue());
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

/// What is waited for.
struct Wish<'a> {
    /// Once stopped, a signal need not be told: the next one ends the process by itself.
    signals: Option<&'a Signals>,
    input: bool,
    room: bool,
    /// Whether it would be news that stdout broke.
    stdout: bool,
    mail: Option<&'a Post>,
    longest: Option<Duration>,
}

/// What became of one wait.
struct Ready {
    input: bool,
    stdout_broke: bool,
}

fn wait(wish: &Wish<'_>) -> Result<Ready, Stop> {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let room = if wish.room { PollFlags::OUT } else { PollFlags::empty() };
    let mut fds = SmallVec::<[PollFd<'_>; 4]>::new();
    // What is not wished for is left out: the end of a stream would be told again and again.
    if wish.input {
        fds.push(PollFd::new(&stdin, PollFlags::IN));
    }
    if wish.stdout {
        fds.push(PollFd::new(&stdout, room));
    }
    fds.extend(wish.signals.map(|signals| PollFd::new(signals, PollFlags::IN)));
    fds.extend(wish.mail.map(|post| PollFd::new(post, PollFlags::IN)));
    let timeout = wish.longest.and_then(|longest| Timespec::try_from(longest).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(err) => return Err(Stop::Failed(err.into())),
    }
    let broke = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    Ok(Ready {
        input: wish.input && !fds[0].revents().is_empty(),
        stdout_broke: wish.stdout && fds[usize::from(wish.input)].revents().intersects(broke),
    })
}
