//! `otpd ask`: from flags to a person, and from how it ended to an exit status.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::rc::Rc;

use clap::Args;

use super::flags::SetupFlags;
use super::{Exit, carrier, print};
use crate::address::{Address, mask};
use crate::ask::lines::{Lines, Said};
use crate::ask::signals::Signals;
use crate::ask::terminal::{Terminal, give_back_on_panic};
use crate::ask::visit::{End, Question, Stage, Visit};
use crate::ask::{Show, form, lines};
use crate::engine::Refusal;
use crate::protocol::reply::Reply;
use crate::protocol::{Fault, PURPOSE_MAX};
use crate::service::{Outside, Service};
use crate::system::{self, SystemClock, SystemRandom};

/// The flags of `ask`.
#[derive(Debug, Args)]
pub struct AskFlags {
    /// Whom to mail a code; asked for if it is not given
    #[arg(value_name = "ADDRESS")]
    pub address: Option<String>,
    /// What the code is for, in the words of the message
    #[arg(long, value_name = "TEXT", value_parser = purpose)]
    pub purpose: Option<String>,
    /// Show the address masked
    #[arg(long)]
    pub mask: bool,
    /// Read lines from standard input and prompt on standard error, also where there is a terminal
    #[arg(long)]
    pub stdin: bool,
    /// Ask in plain lines, without boxes and colours, for screen readers and simple terminals
    #[arg(long, env = "OTPD_PLAIN", value_parser = clap::builder::FalseyValueParser::new())]
    pub plain: bool,
    /// Print how it ended as one JSON line: the reply of the last `verify`, or the error that ended
    /// it
    #[arg(long)]
    pub json: bool,
    /// Mail, words and rules.
    #[command(flatten)]
    pub setup: SetupFlags,
}

/// Where answers come from and questions go to.
enum Way {
    /// Boxes on a terminal.
    Form(Terminal),
    /// Lines from a terminal, or from standard input.
    Lines(Lines<File>, File),
}

/// Asks.
pub fn ask(flags: &AskFlags) -> Result<Exit, String> {
    system::protect().map_err(|err| format!("can't protect this process: {err}"))?;
    let (policy, sender) = flags.setup.policy_and_sender()?;
    let clock = SystemClock::start();
    let broken = |err: io::Error| format!("can't ask: {err}");
    let mut signals = Signals::register().map_err(broken)?;
    let mut way = way(flags).map_err(broken)?;
    let to = match address(flags, &mut way, &mut signals).map_err(broken)? {
        Ok(to) => to,
        Err(exit) => return Ok(without_address(exit, flags.json)),
    };
    let outside = Outside {
        clock: Rc::new(clock),
        random: Box::new(SystemRandom),
        carrier: carrier::carrier(&flags.setup.mail, Rc::new(clock), clock)?,
        simulated: None,
    };
    let service = Service::new(policy, sender, outside)
        .map_err(|_| "the operating system gives no random bytes".to_owned())?;
    let shown_to = if flags.mask { mask(to.as_str()) } else { to.as_str().to_owned() };
    let purpose = flags.purpose.as_deref().map(Into::into);
    let mut visit = Visit::begin(service, Question { to, shown_to, purpose });
    match &mut way {
        Way::Form(terminal) => {
            give_back_on_panic();
            form::run(&mut visit, terminal, &mut signals, show()).map_err(broken)?;
        }
        Way::Lines(from, to) => {
            lines::run(&mut visit, from, to, &mut signals).map_err(broken)?;
        }
    }
    // The terminal is itself again before anything else is written.
    drop(way);
    if flags.json && print(visit.last_reply()) != Exit::Done {
        return Ok(Exit::Broken);
    }
    Ok(match visit.stage() {
        Stage::Over(End::Verified) => Exit::Done,
        Stage::Over(End::Unsent) => Exit::Unsent,
        Stage::Over(End::Interrupted(number)) => Exit::Signalled(number),
        _ => Exit::Denied,
    })
}

/// The terminal if there is one, unless it was not wanted.
fn way(flags: &AskFlags) -> io::Result<Way> {
    let terminal = if flags.stdin { None } else { Terminal::open().ok() };
    let is_dumb = matches!(env::var("TERM").as_deref(), Err(_) | Ok("" | "dumb"));
    match terminal {
        Some(terminal) if !flags.plain && !is_dumb => Ok(Way::Form(terminal)),
        Some(terminal) => Ok(Way::Lines(Lines::new(terminal.file()?), terminal.file()?)),
        None => {
            let stdin = rustix::io::dup(rustix::stdio::stdin())?;
            let stderr = rustix::io::dup(rustix::stdio::stderr())?;
            Ok(Way::Lines(Lines::new(stdin.into()), stderr.into()))
        }
    }
}

/// The address that was given, or is now asked for; or how it ended without one. A person may try
/// again, a script has said what it had to say.
fn address(
    flags: &AskFlags,
    way: &mut Way,
    signals: &mut Signals,
) -> io::Result<Result<Address, Exit>> {
    if let Some(text) = &flags.address {
        return Ok(Address::parse(text).map_err(|_| Exit::Usage));
    }
    let mut tty = match way {
        Way::Form(terminal) => Some((Lines::new(terminal.file()?), terminal.file()?)),
        Way::Lines(..) => None,
    };
    let (lines, prompts) = match (&mut tty, way) {
        (Some((lines, prompts)), _) | (None, Way::Lines(lines, prompts)) => (lines, prompts),
        (None, Way::Form(_)) => return Ok(Err(Exit::Usage)),
    };
    let is_person = rustix::termios::isatty(&*prompts) && !flags.stdin;
    loop {
        let typed = match lines::question("E-mail address: ", lines, prompts, signals)? {
            Said::Text(text) => text,
            Said::Nothing => {
                let _ = writeln!(prompts);
                return Ok(Err(Exit::Denied));
            }
            Said::Signal(number) => {
                let _ = writeln!(prompts);
                return Ok(Err(Exit::Signalled(number)));
            }
        };
        match Address::parse(typed.trim()) {
            Ok(address) => return Ok(Ok(address)),
            Err(_) if is_person => {
                let _ = writeln!(prompts, "That is not an address that mail can be sent to.");
            }
            Err(_) => return Ok(Err(Exit::Usage)),
        }
    }
}

/// Tells how it ended before there was anybody to mail.
fn without_address(exit: Exit, json: bool) -> Exit {
    let mut line = Vec::new();
    if exit == Exit::Usage {
        crate::log::to_stderr("otpd: not an address that mail can be sent to\n");
        Reply::to(None, &mut line).faulty(&Fault::BadAddress, 1);
    } else {
        Reply::to(None, &mut line).refused(&Refusal::Cancelled);
    }
    if json && print(&line) != Exit::Done { Exit::Broken } else { exit }
}

/// What is wanted of the terminal: colours unless `NO_COLOR` is set (no-color.org), more than ASCII
/// if the locale says so.
fn show() -> Show {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(|name| is_set(name));
    let charset = locale.and_then(|name| env::var(name).ok()).unwrap_or_default();
    let charset = charset.to_ascii_lowercase();
    Show {
        colour: !is_set("NO_COLOR"),
        unicode: charset.contains("utf-8") || charset.contains("utf8"),
    }
}

fn purpose(text: &str) -> Result<String, String> {
    match (1..=PURPOSE_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected 1 to {PURPOSE_MAX} bytes without control characters")),
    }
}
