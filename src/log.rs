//! One line on stderr per thing worth an operator's attention.
//!
//! Not a logging crate, because three promises are easier to keep than to configure: an [`Event`]
//! has no place for a code or a whole address, an attack can't fill a disk (a few lines of each
//! kind in ten seconds, then a count), and a log that nobody reads never makes a reply wait.

use std::fmt::Write;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Moment;
use crate::protocol::json::Object;

/// Lines of one kind of event within [`WINDOW`]; the rest are only counted.
const BURST: u32 = 10;
/// See [`BURST`].
const WINDOW: Duration = Duration::from_secs(10);
/// Longest value in a line, in bytes: a server's words, most often.
const VALUE_MAX: usize = 200;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// What ends the daemon or breaks a promise.
    Error,
    /// What somebody should look at.
    Warn,
    /// Beginning and end.
    Info,
    /// Every reply, without what it is about.
    Debug,
}

impl Level {
    /// Every level, by its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, level)| *level == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, level)| *level);
        found.ok_or_else(|| "expected off, error, warn, info or debug".to_owned())
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object, for machines.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}

/// What can be told. Addresses are masked by whoever makes the event.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The daemon reads its input from now on.
    Started {
        /// Its transport.
        via: &'a str,
    },
    /// The daemon has done everything it was told.
    Ended {
        /// Codes mailed.
        issued: u64,
        /// Codes verified.
        verified: u64,
    },
    /// A signal was received.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// A setting deserves a second thought.
    Setting {
        /// A sentence.
        warning: &'a str,
    },
    /// The world is simulated.
    Simulated,
    /// A mail certainly failed.
    MailFailed {
        /// Masked.
        to: &'a str,
        /// Whether trying later may help.
        temporary: bool,
        /// Why, for the operator.
        reason: &'a str,
    },
    /// A mail may have arrived or not.
    MailUncertain {
        /// Masked.
        to: &'a str,
        /// Why nobody knows, for the operator.
        reason: &'a str,
    },
    /// Somebody was refused because of too many wrong codes.
    Locked {
        /// Whether only an operator can open the lock.
        for_good: bool,
    },
    /// A table is full.
    AtCapacity,
    /// The operating system gives no random bytes.
    NoRandomness,
    /// Stdin or stdout broke.
    Broken {
        /// Which.
        stream: &'a str,
        /// What the system said.
        reason: &'a str,
    },
    /// A reply was given.
    Replied {
        /// `ok`, or the error word.
        word: &'a str,
    },
}

/// A value of a line.
enum Value<'a> {
    Text(&'a str),
    Flag(bool),
    Number(i64),
}

/// Kinds of events.
const KINDS: usize = 12;

impl Event<'_> {
    /// Number of its kind, level, name, and fields.
    fn parts(&self) -> (usize, Level, &'static str, Vec<(&'static str, Value<'_>)>) {
        use Value::{Flag, Number, Text};
        let count = |count: &u64| Number(i64::try_from(*count).unwrap_or(i64::MAX));
        match self {
            Self::Started { via } => (0, Level::Info, "started", vec![("via", Text(via))]),
            Self::Ended { issued, verified } => (
                1,
                Level::Info,
                "ended",
                vec![("issued", count(issued)), ("verified", count(verified))],
            ),
            Self::Signalled { signal } => {
                (2, Level::Info, "signal", vec![("number", Number((*signal).into()))])
            }
            Self::Setting { warning } => {
                (3, Level::Warn, "setting", vec![("warning", Text(warning))])
            }
            Self::Simulated => (
                4,
                Level::Warn,
                "simulated",
                vec![("warning", Text("codes can be foretold; this is for tests only"))],
            ),
            Self::MailFailed { to, temporary, reason } => (
                5,
                Level::Warn,
                "mail_failed",
                vec![("to", Text(to)), ("temporary", Flag(*temporary)), ("reason", Text(reason))],
            ),
            Self::Locked { for_good } => {
                (6, Level::Warn, "locked", vec![("for_good", Flag(*for_good))])
            }
            Self::AtCapacity => (7, Level::Warn, "at_capacity", vec![]),
            Self::NoRandomness => (8, Level::Error, "no_randomness", vec![]),
            Self::Broken { stream, reason } => (
                9,
                Level::Error,
                "broken",
                vec![("stream", Text(stream)), ("reason", Text(reason))],
            ),
            Self::Replied { word } => (10, Level::Debug, "replied", vec![("word", Text(word))]),
            Self::MailUncertain { to, reason } => (
                11,
                Level::Warn,
                "mail_uncertain",
                vec![("to", Text(to)), ("reason", Text(reason))],
            ),
        }
    }
}

/// Writes events as lines.
pub struct Log {
    level: Level,
    format: Format,
    sink: Box<dyn FnMut(&str)>,
    kinds: [Kind; KINDS],
}

/// What was written of one kind of event lately.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    since: Moment,
    written: u32,
    suppressed: u64,
}

impl Log {
    /// A log that hands its lines to `sink`; [`to_stderr`] is the usual one.
    #[must_use]
    pub fn new(level: Level, format: Format, sink: Box<dyn FnMut(&str)>) -> Self {
        Self { level, format, sink, kinds: [Kind::default(); KINDS] }
    }

    /// Whether events of this level are written at all.
    #[must_use]
    pub fn tells(&self, level: Level) -> bool {
        level <= self.level
    }

    /// Writes one event, unless its kind has had its lines.
    pub fn event(&mut self, event: &Event<'_>, now: Moment, wall: SystemTime) {
        let (number, level, name, fields) = event.parts();
        if !self.tells(level) {
            return;
        }
        let kind = &mut self.kinds[number];
        if now >= kind.since + WINDOW {
            *kind = Kind { since: now, written: 0, suppressed: kind.suppressed };
        }
        if kind.written >= BURST {
            kind.suppressed += 1;
            return;
        }
        kind.written += 1;
        let suppressed = std::mem::take(&mut kind.suppressed);
        let line = match self.format {
            Format::Text => as_text(level, name, &fields, suppressed, wall),
            Format::Json => as_json(level, name, &fields, suppressed, wall),
        };
        (self.sink)(&line);
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("level", &self.level).finish_non_exhaustive()
    }
}

fn as_text(
    level: Level,
    name: &str,
    fields: &[(&str, Value<'_>)],
    suppressed: u64,
    wall: SystemTime,
) -> String {
    let time = humantime::format_rfc3339_seconds(wall);
    let mut line = format!("{time} otpd {}: {name}", level.name());
    for (name, value) in fields {
        // Writing to a string can't fail.
        let _ = match value {
            // Escapes what could steer a terminal, and quotes what has blanks.
            Value::Text(text) if text.contains([' ', '"']) => {
                write!(line, " {name}={:?}", cut(text))
            }
            Value::Text(text) => write!(line, " {name}={}", cut(text).escape_debug()),
            Value::Flag(flag) => write!(line, " {name}={flag}"),
            Value::Number(number) => write!(line, " {name}={number}"),
        };
    }
    if suppressed > 0 {
        let _ = write!(line, " suppressed={suppressed}");
    }
    line.push('\n');
    line
}

fn as_json(
    level: Level,
    name: &str,
    fields: &[(&str, Value<'_>)],
    suppressed: u64,
    wall: SystemTime,
) -> String {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    object.text("time", &humantime::format_rfc3339_millis(wall).to_string());
    object.text("level", level.name());
    object.text("event", name);
    for (name, value) in fields {
        match value {
            Value::Text(text) => object.text(name, cut(text)),
            Value::Flag(flag) => object.flag(name, *flag),
            Value::Number(number) => object.raw(name, &number.to_string()),
        }
    }
    if suppressed > 0 {
        object.number("suppressed", suppressed);
    }
    object.end();
    String::from_utf8(out).unwrap_or_default()
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(VALUE_MAX)]
}

/// Writes a line to stderr if that can be done without waiting; otherwise the line is lost.
pub fn to_stderr(line: &str) {
    let stderr = rustix::stdio::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    // A pipe that is ready takes 4,096 bytes (PIPE_BUF) without waiting.
    let line = &line.as_bytes()[..line.floor_char_boundary(4_096)];
    if ready.is_ok_and(|ready| ready > 0) && fds[0].revents().contains(PollFlags::OUT) {
        let _ = rustix::io::write(stderr, line);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    fn log(level: Level, format: Format) -> (Log, Rc<RefCell<String>>) {
        let lines = Rc::new(RefCell::new(String::new()));
        let sink = Rc::clone(&lines);
        (Log::new(level, format, Box::new(move |line| sink.borrow_mut().push_str(line))), lines)
    }

    const FAILED: Event<'_> =
        Event::MailFailed { to: "a…@x.org", temporary: true, reason: "no \u{1b}[2J\r\nroom" };

    #[test]
    fn a_line_for_people_can_not_steer_their_terminal() {
        let (mut log, lines) = log(Level::Warn, Format::Text);
        log.event(&FAILED, Moment::START, SystemTime::UNIX_EPOCH);
        assert_eq!(
            *lines.borrow(),
            "1970-01-01T00:00:00Z otpd warn: mail_failed to=a…@x.org temporary=true \
             reason=\"no \\u{1b}[2J\\r\\nroom\"\n"
        );
    }

    #[test]
    fn a_line_for_machines_is_json() {
        let (mut log, lines) = log(Level::Warn, Format::Json);
        log.event(&FAILED, Moment::START, SystemTime::UNIX_EPOCH);
        assert_eq!(
            *lines.borrow(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"warn\",\"event\":\"mail_failed\",\
             \"to\":\"a…@x.org\",\"temporary\":true,\"reason\":\"no \\u001b[2J\\r\\nroom\"}\n"
        );
    }

    #[test]
    fn levels_are_kept() {
        let (mut log, lines) = log(Level::Error, Format::Text);
        log.event(&FAILED, Moment::START, SystemTime::UNIX_EPOCH);
        assert_eq!(*lines.borrow(), "");
        log.event(&Event::NoRandomness, Moment::START, SystemTime::UNIX_EPOCH);
        assert_eq!(lines.borrow().lines().count(), 1);
    }

    #[test]
    fn an_attack_fills_no_disk() {
        let (mut log, lines) = log(Level::Warn, Format::Text);
        for second in 0..100 {
            for _ in 0..1_000 {
                log.event(&FAILED, Moment::from_millis(second * 1_000), SystemTime::UNIX_EPOCH);
            }
            log.event(
                &Event::AtCapacity,
                Moment::from_millis(second * 1_000),
                SystemTime::UNIX_EPOCH,
            );
        }
        let lines = lines.borrow();
        assert_eq!(lines.matches("mail_failed").count(), 100);
        assert_eq!(lines.matches("at_capacity").count(), 100);
        assert_eq!(lines.matches("suppressed=9990").count(), 9);
    }

    #[test]
    fn long_values_are_cut() {
        let (mut log, lines) = log(Level::Warn, Format::Text);
        let long = "é".repeat(1_000);
        let event = Event::MailFailed { to: "", temporary: true, reason: &long };
        log.event(&event, Moment::START, SystemTime::UNIX_EPOCH);
        assert_eq!(lines.borrow().matches('é').count(), 100);
    }
}
