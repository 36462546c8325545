//! Flags and environment become a checked configuration, and a configuration a running command.

pub mod asking;
pub mod carrier;
pub mod flags;
pub mod manual;
pub mod preview;
pub mod report;
pub mod wording;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;

use clap::error::ErrorKind;

use crate::clock::{Clock, Random};
use crate::log::{Event, Log};
use crate::protocol::status::policy_line;
use crate::serve::desk::Desk;
use crate::serve::{self, End};
use crate::service::{Outside, Service};
use crate::simulate::{Seeded, StoppedClock};
use crate::system::{self, SystemClock, SystemRandom};
use flags::{CheckFlags, Cli, Command, LogFlags, OUTBOX, PolicyFlags, Route, ServeFlags};

/// How a command ended, as its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything was done.
    Done,
    /// 1: stdin or stdout broke.
    Broken,
    /// 1: the address was not verified.
    Denied,
    /// 2: the flags or the configuration are wrong.
    Usage,
    /// 3: mail can't be sent.
    Unsent,
    /// 128 and the number of the signal that ended it, as a shell would say it.
    Signalled(i32),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Broken | Exit::Denied => 1,
            Exit::Usage => 2,
            Exit::Unsent => 3,
            Exit::Signalled(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        })
    }
}

/// Runs one command.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    system::keep_panics_quiet();
    let result = match Cli::read(args) {
        Ok(Cli { command: Command::Serve(flags) }) => serve(&flags),
        Ok(Cli { command: Command::Ask(flags) }) => asking::ask(&flags),
        Ok(Cli { command: Command::Check(flags) }) => check(&flags),
        Ok(Cli { command: Command::Policy { policy, json } }) => print_policy(&policy, json),
        Ok(Cli { command: Command::Preview(flags) }) => preview::preview(&flags),
        Ok(Cli { command: Command::Completions { shell } }) => {
            Ok(print(&manual::completions(shell)))
        }
        Ok(Cli { command: Command::Man { about } }) => {
            manual::page(about.as_deref()).map(|page| print(&page))
        }
        Err(err) => return tell_usage(&err),
    };
    result.unwrap_or_else(|why| {
        crate::log::to_stderr(&format!("otpd: {why}\n"));
        Exit::Usage
    })
}

/// Help and version go to stdout and are no failure; what is wrong goes to stderr and is one.
fn tell_usage(err: &clap::Error) -> Exit {
    match (err.print(), err.kind()) {
        (Err(_), _) => Exit::Broken,
        (Ok(()), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => Exit::Done,
        (Ok(()), _) => Exit::Usage,
    }
}

fn print_policy(flags: &PolicyFlags, json: bool) -> Result<Exit, String> {
    let policy = flags.policy()?;
    let text = if json { policy_line(&policy) } else { report::policy_text(&policy).into_bytes() };
    Ok(print(&text))
}

/// Prints what was asked for.
fn print(bytes: &[u8]) -> Exit {
    let mut stdout = std::io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done,
        Err(err) => {
            crate::log::to_stderr(&format!("otpd: can't write to stdout: {err}\n"));
            Exit::Broken
        }
    }
}

fn serve(flags: &ServeFlags) -> Result<Exit, String> {
    system::protect().map_err(|err| format!("can't protect this process: {err}"))?;
    if flags.process.die_with_parent {
        system::die_with_parent().map_err(|err| format!("`--die-with-parent`: {err}"))?;
    }
    let (policy, sender) = flags.setup.policy_and_sender()?;
    let mail = &flags.setup.mail;
    let clock = SystemClock::start();
    let (world, random) = world(flags.process.simulate, clock);
    if world.simulated.is_some() && !matches!(mail.route()?, Route::Outbox(_)) {
        return Err("`--simulate` only writes to an outbox".to_owned());
    }
    let carrier = carrier::carrier(mail, Rc::clone(&world.clock), clock)?;
    let outside = Outside { clock: world.clock, random, carrier, simulated: world.simulated };
    let warnings = policy.warnings();
    let service = Service::new(policy, sender, outside)
        .map_err(|_| "the operating system gives no random bytes".to_owned())?;
    let mut desk = Desk::new(service, log(&flags.log));
    warn(&mut desk, flags, &warnings);
    match serve::run(&mut desk, &clock) {
        Ok(End::Done) => Ok(Exit::Done),
        Ok(End::Broken) => Ok(Exit::Broken),
        Err(err) => Err(format!("can't wait for input and signals: {err}")),
    }
}

/// Tries the way that mail would go.
fn check(flags: &CheckFlags) -> Result<Exit, String> {
    system::protect().map_err(|err| format!("can't protect this process: {err}"))?;
    flags.mail.sender()?;
    let mut is_told = true;
    let mut tell = |step: &str, done: Result<&str, &str>| {
        let line = report::step(step, done);
        is_told = is_told && print(line.as_bytes()) == Exit::Done;
    };
    let is_free = carrier::check(&flags.mail, SystemClock::start(), &mut tell)?;
    Ok(match (is_told, is_free) {
        (false, _) => Exit::Broken,
        (true, true) => Exit::Done,
        (true, false) => Exit::Unsent,
    })
}

fn warn(desk: &mut Desk, flags: &ServeFlags, warnings: &[String]) {
    for warning in warnings {
        desk.tell(&Event::Setting { warning });
    }
    let mail = &flags.setup.mail;
    if carrier::has_idle_password(mail) {
        let warning =
            "there is a password, and the mail server's URL names no user: nobody logs in";
        desk.tell(&Event::Setting { warning });
    }
    if flags.process.simulate.is_some() {
        desk.tell(&Event::Simulated);
    } else if mail.route() == Ok(Route::Outbox(OUTBOX)) && mail.outbox.is_none() {
        let warning = "no mail server is configured: messages are written to ./outbox";
        desk.tell(&Event::Setting { warning });
    }
}

/// The clocks and the generator of one world.
struct World {
    clock: Rc<dyn Clock>,
    simulated: Option<StoppedClock>,
}

fn world(seed: Option<u64>, clock: SystemClock) -> (World, Box<dyn Random>) {
    match seed {
        Some(seed) => {
            let stopped = StoppedClock::default();
            let world = World { clock: Rc::new(stopped.clone()), simulated: Some(stopped) };
            (world, Box::new(Seeded::new(seed)))
        }
        None => (World { clock: Rc::new(clock), simulated: None }, Box::new(SystemRandom)),
    }
}

fn log(flags: &LogFlags) -> Log {
    Log::new(flags.log, flags.log_format, Box::new(crate::log::to_stderr))
}
