//! `otpd preview`: a message with a code that is none, to be looked at before anybody gets one.

use std::fs;
use std::io::{self, IsTerminal};

use clap::Args;

use super::flags::SetupFlags;
use super::{Exit, print};
use crate::address::Address;
use crate::clock::NoRandomness;
use crate::engine::{Extras, Var};
use crate::mail::compose::{Composer, Sample, Unwritten};
use crate::protocol::{PURPOSE_MAX, VAR_MAX, VAR_NAME_MAX, VARS_MAX};
use crate::system::{SystemClock, SystemRandom};

/// The sample code. Nobody takes it for one that was drawn.
const CODE: &str = "1234567890";

/// The flags of `preview`.
#[derive(Debug, Args)]
pub struct PreviewFlags {
    /// Write the page to FILE and print nothing but its name
    #[arg(long, value_name = "FILE")]
    pub html: Option<String>,
    /// What the code is for
    #[arg(long, value_name = "TEXT", value_parser = purpose)]
    pub purpose: Option<Box<str>>,
    /// A value for the template, as in `vars`; may be given more than once
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = var)]
    pub vars: Vec<Var>,
    /// Who gets the message
    #[arg(long, value_name = "ADDRESS", default_value = "ann@example.org")]
    pub to: String,
    /// Who it is from, in which words, and how long a code is and lives.
    #[command(flatten)]
    pub setup: SetupFlags,
}

/// Prints a message, or writes its page.
///
/// # Errors
/// A sentence: a flag or a template can't be used, or the file can't be written.
pub fn preview(flags: &PreviewFlags) -> Result<Exit, String> {
    let (policy, sender) = flags.setup.policy_and_sender()?;
    let to = Address::parse(&flags.to)
        .map_err(|_| "`--to` is not an address that mail can be sent to".to_owned())?;
    if flags.vars.len() > VARS_MAX {
        return Err(format!("`--var` can be given {VARS_MAX} times"));
    }
    let extras = Extras {
        purpose: flags.purpose.clone(),
        vars: flags.vars.clone(),
        // That of the flag, which is the default of a message that asks for none.
        ..Extras::default()
    };
    let code = &CODE[..usize::from(policy.digits)];
    let sample = Sample { to: to.as_str(), extras: &extras, life: policy.ttl, code };
    let no_randomness = || "the operating system gives no random bytes".to_owned();
    let composer =
        Composer::new(sender, &mut SystemRandom).map_err(|NoRandomness| no_randomness())?;
    let written = composer.sample(&sample, &SystemClock::start(), &mut SystemRandom);
    let (message, page) = written.map_err(|err| match err {
        Unwritten::NoRandomness => no_randomness(),
        Unwritten::Template(why) => why,
    })?;
    let Some(file) = &flags.html else { return Ok(print_message(&message.bytes)) };
    fs::write(file, page).map_err(|err| format!("`--html {file}`: {err}"))?;
    Ok(print(format!("{file}\n").as_bytes()))
}

/// As it would be sent, so that a mail program opens what was redirected to a file; a terminal gets
/// the line ends that it wants.
fn print_message(bytes: &[u8]) -> Exit {
    match io::stdout().is_terminal() {
        true => print(&bytes.iter().copied().filter(|b| *b != b'\r').collect::<Vec<u8>>()),
        false => print(bytes),
    }
}

fn purpose(text: &str) -> Result<Box<str>, String> {
    bounded(text, PURPOSE_MAX).map(Into::into)
}

fn var(text: &str) -> Result<Var, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = if value.is_empty() { value } else { bounded(value, VAR_MAX)? };
    Ok((bounded(name, VAR_NAME_MAX)?.into(), value.into()))
}

/// What `issue` would take.
fn bounded(text: &str, most: usize) -> Result<&str, String> {
    let fits = (1..=most).contains(&text.len()) && !text.contains(|c: char| c.is_ascii_control());
    fits.then_some(text)
        .ok_or_else(|| format!("expected 1 to {most} bytes without control characters"))
}
