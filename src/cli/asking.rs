//! `otpd ask`: from flags to a person, and from how it ended to an exit status.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::rc::Rc;

use clap::Args;

use super::flags::{MailFlags, PolicyFlags};
use super::wording::WordingFlags;
use super::{Exit, carrier, print};
use crate::address::{Address, mask};
use crate::ask::lines::{Line, Lines};
use crate::ask::signals::Signals;
use crate::ask::terminal::{Terminal, give_back_on_panic};
use crate::ask::visit::{End, Question, Stage, Visit};
use crate::ask::{Show, form, lines};
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
    /// Mail.
    #[command(flatten)]
    pub mail: MailFlags,
    /// The words of messages.
    #[command(flatten)]
    pub wording: WordingFlags,
    /// The rules.
    #[command(flatten)]
    pub policy: PolicyFlags,
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
    let policy = flags.policy.policy()?;
    let sender = flags.mail.sender()?;
    let templates = flags.wording.templates(sender.product(), policy.digits)?;
    let clock = SystemClock::start();
    let broken = |err: io::Error| format!("can't ask: {err}");
    let mut way = way(flags).map_err(broken)?;
    let Some(to) = address(flags, &mut way).map_err(broken)? else {
        return Ok(refused_address(flags.json));
    };
    let outside = Outside {
        clock: Rc::new(clock),
        random: Box::new(SystemRandom),
        carrier: carrier::carrier(&flags.mail, Rc::new(clock), clock)?,
        simulated: None,
    };
    let service = Service::new(policy, sender.with(templates), outside)
        .map_err(|_| "the operating system gives no random bytes".to_owned())?;
    let mut signals = Signals::register().map_err(broken)?;
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
    let is_dumb =
        env::var("TERM").is_ok_and(|term| term == "dumb") || env::var_os("TERM").is_none();
    match terminal {
        Some(terminal) if !flags.plain && !is_dumb => Ok(Way::Form(terminal)),
        Some(_) => {
            let tty = File::options().read(true).write(true).open("/dev/tty")?;
            Ok(Way::Lines(Lines::new(tty.try_clone()?), tty))
        }
        None => {
            let stdin = rustix::io::dup(rustix::stdio::stdin())?;
            let stderr = rustix::io::dup(rustix::stdio::stderr())?;
            Ok(Way::Lines(Lines::new(stdin.into()), stderr.into()))
        }
    }
}

/// The address that was given, or is now asked for. None if it is none.
fn address(flags: &AskFlags, way: &mut Way) -> io::Result<Option<Address>> {
    let parse = |text: &str| Address::parse(text.trim()).ok();
    if let Some(text) = &flags.address {
        return Ok(Address::parse(text).ok());
    }
    let typed = match way {
        Way::Form(_) => {
            // Typed as everything else is at this terminal, and mended as there.
            let mut tty = File::options().read(true).write(true).open("/dev/tty")?;
            let mut lines = Lines::new(tty.try_clone()?);
            first_line(&mut lines, &mut tty)?
        }
        Way::Lines(lines, prompts) => first_line(lines, prompts)?,
    };
    Ok(typed.and_then(|text| parse(&text)))
}

fn first_line(lines: &mut Lines<File>, prompts: &mut File) -> io::Result<Option<String>> {
    let _ = write!(prompts, "E-mail address: ");
    loop {
        match lines.read()? {
            Line::Text(text) => return Ok(Some(text.to_string())),
            Line::End => return Ok(None),
            Line::Part => {}
        }
    }
}

fn refused_address(json: bool) -> Exit {
    crate::log::to_stderr("otpd: not an address that mail can be sent to\n");
    let mut line = Vec::new();
    Reply::to(None, &mut line).faulty(&Fault::BadAddress, 1);
    if json && print(&line) != Exit::Done { Exit::Broken } else { Exit::Usage }
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
