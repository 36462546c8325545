//! A visit in lines: for scripts, for terminals that can do no more, and for people whose screen is
//! read to them.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use zeroize::Zeroizing;

use super::signals::{Signals, Wanted, stop};
use super::visit::{End, Stage, Tone, Visit, words};
use super::wait;

/// Longest line that is kept, in bytes: a code is ten digits at most, an address 254.
const LINE_MAX: usize = 1_024;

/// Lines as they come from somewhere.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    bytes: Zeroizing<Vec<u8>>,
    has_ended: bool,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its end.
    Text(Zeroizing<String>),
    /// Not a whole line yet.
    Part,
    /// No more.
    End,
}

impl<R: Read> Lines<R> {
    /// Lines of `from`.
    #[must_use]
    pub fn new(from: R) -> Self {
        Self { from, bytes: Zeroizing::new(Vec::with_capacity(2 * LINE_MAX)), has_ended: false }
    }

    /// Where they come from.
    pub const fn from(&self) -> &R {
        &self.from
    }

    /// A line that has been read already.
    pub fn ready(&mut self) -> Option<Line> {
        let end = memchr::memchr(b'\n', &self.bytes);
        let (text, taken) = match end {
            Some(at) => (&self.bytes[..at], at + 1),
            None if self.has_ended && self.bytes.is_empty() => return Some(Line::End),
            None if self.has_ended => (&self.bytes[..], self.bytes.len()),
            None => return None,
        };
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = Zeroizing::new(String::from_utf8_lossy(text).into_owned());
        self.bytes.drain(..taken);
        Some(Line::Text(text))
    }

    /// Reads once, which waits for something to come.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&mut self) -> io::Result<Line> {
        let mut piece = Zeroizing::new([0; LINE_MAX]);
        match self.from.read(&mut *piece) {
            Ok(0) => self.has_ended = true,
            // What is longer than any line is none; its end will be.
            Ok(_) if self.bytes.len() >= LINE_MAX && !self.bytes.contains(&b'\n') => {
                self.bytes.clear();
            }
            Ok(count) => self.bytes.extend_from_slice(&piece[..count]),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
        Ok(self.ready().unwrap_or(Line::Part))
    }
}

/// What somebody said to a question.
#[derive(Debug)]
pub enum Said {
    /// This.
    Text(Zeroizing<String>),
    /// Nothing more.
    Nothing,
    /// They ended the process by the signal of this number.
    Signal(i32),
}

/// Asks one question.
///
/// # Errors
/// What the system says when it can't be waited for anything.
pub fn question<R: Read + AsFd>(
    text: &str,
    lines: &mut Lines<R>,
    prompts: &mut dyn Write,
    signals: &mut Signals,
) -> io::Result<Said> {
    let _ = write!(prompts, "{text}").and_then(|()| prompts.flush());
    loop {
        match signals.take() {
            Some(Wanted::End(number)) => return Ok(Said::Signal(number)),
            Some(Wanted::Stop) => stop()?,
            Some(Wanted::Look) | None => {}
        }
        let line = match lines.ready() {
            Some(line) => line,
            None if wait(Some(lines.from().as_fd()), signals, None, None)? => {
                lines.read().unwrap_or(Line::End)
            }
            None => Line::Part,
        };
        match line {
            Line::Text(text) => return Ok(Said::Text(text)),
            Line::End => return Ok(Said::Nothing),
            Line::Part => {}
        }
    }
}

/// Goes through a visit to its end, over lines that come from `lines` and prompts that go to
/// `prompts`.
///
/// # Errors
/// What the system says of the input. A prompt that can't be written is nobody's loss.
pub fn run<R: Read + AsFd>(
    visit: &mut Visit,
    lines: &mut Lines<R>,
    prompts: &mut dyn Write,
    signals: &mut Signals,
) -> io::Result<()> {
    let mut told = String::new();
    let mut is_prompted = false;
    loop {
        visit.look();
        match signals.take() {
            Some(Wanted::End(number)) => visit.leave(End::Interrupted(number)),
            Some(Wanted::Stop) => stop()?,
            Some(Wanted::Look) | None => {}
        }
        let news = news(visit);
        if news != told {
            let before = if is_prompted { "\n" } else { "" };
            let _ = write!(prompts, "{before}{news}");
            told = news;
            is_prompted = false;
        }
        if let Stage::Over(_) = visit.stage() {
            return Ok(());
        }
        let may_type = visit.stage() == Stage::Asking && !visit.is_mailing();
        if may_type && !is_prompted {
            let _ = write!(prompts, "Code (r: send again): ").and_then(|()| prompts.flush());
            is_prompted = true;
        }
        let line = match lines.ready().filter(|_| may_type) {
            Some(line) => line,
            None => {
                let input = may_type.then(|| lines.from().as_fd());
                let longest = visit.standing().map(|standing| standing.expires_in);
                match wait(input, signals, Some(visit), longest)? {
                    // What can't be read has ended.
                    true => lines.read().unwrap_or(Line::End),
                    false => continue,
                }
            }
        };
        match line {
            Line::Part => {}
            Line::End => visit.leave(End::Denied),
            Line::Text(text) => {
                // The prompt ended with the line.
                is_prompted = false;
                told.clear();
                visit.say("", Tone::Plain);
                match text.trim() {
                    "" => {}
                    "r" | "R" => visit.resend(),
                    code => visit.submit(code),
                }
            }
        }
    }
}

/// What is to be told: the sentence, or what was mailed where if there is none.
fn news(visit: &Visit) -> String {
    let line = |text: &String| format!("{text}\n");
    match visit.notice().text.is_empty() {
        true => {
            let life = visit.standing().map(|standing| words(standing.expires_in));
            let life = life.map(|life| format!("It is valid for {life}."));
            visit.heading().iter().chain(&life).map(line).collect()
        }
        false => line(&visit.notice().text),
    }
}
