//! The flags, each with its environment variable, bounds and default.

mod mail;

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use super::asking::AskFlags;
use super::preview::PreviewFlags;
use super::wording::WordingFlags;
use crate::engine::policy::{self, Policy};
use crate::log::{Format, Level};
use crate::mail::sender::Sender;
use crate::mail::smtp::relay::Relay;
use crate::protocol::help;

pub use mail::{MailFlags, OUTBOX, Route};

/// E-mail verification as a subprocess.
///
/// Mails one-time codes and checks them, so that a program in any language, or a shell script, can
/// find out whether somebody reads mail at an address.
#[derive(Debug, Parser)]
#[command(name = "otpd", version, max_term_width = 100, after_long_help = help::as_text())]
#[command(after_help = "`otpd help` lists the commands on standard input and the error words too.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The definition of all commands and flags.
    #[must_use]
    pub fn definition() -> clap::Command {
        // Help names the environment variables; what they hold is nobody's business.
        let hide = |arg: clap::Arg| arg.hide_env_values(true);
        Self::command().mut_subcommands(|command| command.mut_args(hide))
    }

    /// Reads arguments and environment.
    ///
    /// # Errors
    /// What is wrong with them, or the help or version that was asked for, ready to be printed.
    pub fn read(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> clap::error::Result<Self> {
        let definition = Self::definition().mut_subcommands(|it| it.mut_args(without_empty));
        let matches = definition.try_get_matches_from(args)?;
        if let Some((_, command)) = matches.subcommand() {
            refuse_secrets(command)?;
        }
        Self::from_arg_matches(&matches)
    }
}

/// An empty variable is one that is not set.
fn without_empty(arg: clap::Arg) -> clap::Arg {
    let value = arg.get_env().and_then(std::env::var_os);
    match value.is_some_and(|value| value.is_empty()) {
        // There is no taking the name back; nothing is called this.
        true => arg.env("").hide_env(true),
        false => arg,
    }
}

/// Refuses a mail server's URL that has a password in it or is empty, if it is a flag: everybody on
/// this machine can read flags, and an empty one is a variable that was not set.
fn refuse_secrets(command: &clap::ArgMatches) -> clap::error::Result<()> {
    let url = command.try_get_one::<String>("smtp").ok().flatten();
    let is_flag = url.is_some() && command.value_source("smtp") == Some(ValueSource::CommandLine);
    let has_password = |url: &str| Relay::parse(url).is_ok_and(|relay| relay.password.is_some());
    let why = match url {
        Some(url) if is_flag && url.is_empty() => "`--smtp` is empty",
        Some(url) if is_flag && has_password(url) => {
            "`--smtp` must not hold a password, which everybody on this machine could read; give \
             it in `OTPD_SMTP_PASSWORD` or `--smtp-password-file`"
        }
        _ => return Ok(()),
    };
    Err(Cli::definition().error(ErrorKind::ValueValidation, why))
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read commands on standard input, one JSON object a line, and answer each with one line
    Serve(ServeFlags),
    /// Mail a code to ADDRESS, have it typed here, and tell by the exit status whether it was right
    ///
    /// 0: verified. 1: not verified (wrong codes used up, expired, locked, too many mails, end of
    /// input). 2: wrong usage, a bad address included. 3: the mail could not be sent. 130: Ctrl-C.
    Ask(Box<AskFlags>),
    /// Try the way that mail would go, without sending any, and print each step
    ///
    /// Connects to the mail server, says hello, starts TLS, logs in and says good-bye. Exit status 0
    /// if nothing stands in the way of a message, 3 if something does.
    Check(CheckFlags),
    /// Print the policy in force and the figures that follow from it
    Policy {
        /// The settings.
        #[command(flatten)]
        policy: PolicyFlags,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print a message with a code that is none, or write its page, to be looked at
    ///
    /// The flags for mail, words and policy are those of `serve`, so that what is configured there
    /// can be tried here. Nothing is sent. On a terminal lines end as it wants, elsewhere with CRLF,
    /// so that a mail program opens what was redirected to a file.
    Preview(PreviewFlags),
    /// Print the completions of a shell
    Completions {
        /// Whose.
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual page of otpd, or of one of its commands
    Man {
        /// Which; otpd itself if it is not given.
        #[arg(value_name = "COMMAND")]
        about: Option<String>,
    },
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// Mail, words and rules.
    #[command(flatten)]
    pub setup: SetupFlags,
    /// The log.
    #[command(flatten)]
    pub log: LogFlags,
    /// The process.
    #[command(flatten)]
    pub process: ProcessFlags,
}

/// What commands that write messages have in common.
#[derive(Debug, Args)]
pub struct SetupFlags {
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

impl SetupFlags {
    /// The rules, and the sender with the words.
    ///
    /// # Errors
    /// A sentence: something is wrong with one of them.
    pub fn policy_and_sender(&self) -> Result<(Policy, Sender), String> {
        let policy = self.policy.policy()?;
        let sender = self.mail.sender()?;
        let templates = self.wording.templates(sender.product(), policy.digits)?;
        Ok((policy, sender.with(templates)))
    }
}

/// The flags of `check`.
#[derive(Debug, Args)]
pub struct CheckFlags {
    /// Mail.
    #[command(flatten)]
    pub mail: MailFlags,
}

/// The rules.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policy (0 never means unlimited)")]
pub struct PolicyFlags {
    /// Digits of a code, 6–10
    #[arg(long, value_name = "N", env = "OTPD_DIGITS", default_value_t = Policy::default().digits)]
    #[arg(value_parser = within(policy::DIGITS))]
    pub digits: u8,
    /// Life of a code, 60s–24h
    #[arg(long, value_name = "TIME", env = "OTPD_TTL", default_value = "10m")]
    #[arg(value_parser = |text: &str| span(text, &policy::TTL))]
    pub ttl: Duration,
    /// Wrong attempts per code, 1–10 [default: 5, or --failures-per-day if that is less]
    #[arg(long, value_name = "N", env = "OTPD_ATTEMPTS")]
    #[arg(value_parser = within(policy::ATTEMPTS))]
    pub attempts: Option<u8>,
    /// Wrong attempts per address in any 24 hours, over all its sessions, 1–100
    #[arg(long, value_name = "N", env = "OTPD_FAILURES_PER_DAY")]
    #[arg(default_value_t = Policy::default().failures_per_day)]
    #[arg(value_parser = within(policy::FAILURES_PER_DAY))]
    pub failures_per_day: u8,
    /// Consecutive wrong attempts after which an address is locked until `unlock`, 1–100
    #[arg(long, value_name = "N", env = "OTPD_CONSECUTIVE_FAILURES")]
    #[arg(default_value_t = Policy::default().consecutive_failures)]
    #[arg(value_parser = within(policy::CONSECUTIVE_FAILURES))]
    pub consecutive_failures: u8,
    /// Time between two mails to an address, 1s–1h
    #[arg(long, value_name = "TIME", env = "OTPD_COOL_DOWN", default_value = "60s")]
    #[arg(value_parser = |text: &str| span(text, &policy::COOL_DOWN))]
    pub cool_down: Duration,
    /// Mails to an address in any hour, 1–1000 [default: 5, or --mails-per-day if that is less]
    #[arg(long, value_name = "N", env = "OTPD_MAILS_PER_HOUR")]
    #[arg(value_parser = within(policy::MAILS))]
    pub mails_per_hour: Option<u32>,
    /// Mails to an address in any 24 hours, 1–1000
    #[arg(long, value_name = "N", env = "OTPD_MAILS_PER_DAY")]
    #[arg(default_value_t = Policy::default().mails_per_day)]
    #[arg(value_parser = within(policy::MAILS))]
    pub mails_per_day: u32,
    /// Live sessions of an address, 1–10
    #[arg(long, value_name = "N", env = "OTPD_LIVE_SESSIONS")]
    #[arg(default_value_t = Policy::default().live_sessions)]
    #[arg(value_parser = within(policy::LIVE_SESSIONS))]
    pub live_sessions: u8,
    /// Issues of a `client` in any hour, 1–1000000
    #[arg(long, value_name = "N", env = "OTPD_CLIENT_PER_HOUR")]
    #[arg(default_value_t = Policy::default().client_per_hour)]
    #[arg(value_parser = within(policy::CLIENT_PER_HOUR))]
    pub client_per_hour: u32,
    /// Live sessions in all, 1–100000000
    #[arg(long, value_name = "N", env = "OTPD_CAPACITY")]
    #[arg(default_value_t = Policy::default().capacity)]
    #[arg(value_parser = within(policy::CAPACITY))]
    pub capacity: u32,
    /// Addresses, clients and ended sessions that are remembered, each, 1–1000000000
    #[arg(long, value_name = "N", env = "OTPD_REMEMBERED")]
    #[arg(default_value_t = Policy::default().remembered)]
    #[arg(value_parser = within(policy::REMEMBERED))]
    pub remembered: u32,
}

impl PolicyFlags {
    /// The policy that the flags ask for. Where one setting was given and another was not, the
    /// other's default gives way, but only to become stricter.
    ///
    /// # Errors
    /// A sentence that names the flags which contradict each other.
    pub fn policy(&self) -> Result<Policy, String> {
        let default = Policy::default();
        let policy = Policy {
            digits: self.digits,
            ttl: self.ttl,
            attempts: self.attempts.unwrap_or(default.attempts.min(self.failures_per_day)),
            failures_per_day: self.failures_per_day,
            consecutive_failures: self.consecutive_failures,
            cool_down: self.cool_down,
            mails_per_hour: self
                .mails_per_hour
                .unwrap_or(default.mails_per_hour.min(self.mails_per_day)),
            mails_per_day: self.mails_per_day,
            live_sessions: self.live_sessions,
            client_per_hour: self.client_per_hour,
            capacity: self.capacity,
            remembered: self.remembered,
        };
        policy.check()?;
        Ok(policy)
    }
}

/// The log on stderr.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogFlags {
    /// How much is told on stderr: off, error, warn, info or debug
    #[arg(long, value_name = "LEVEL", env = "OTPD_LOG", default_value = "warn")]
    #[arg(value_parser = Level::from_str)]
    pub log: Level,
    /// How: text for people, json for machines
    #[arg(long, value_name = "FORMAT", env = "OTPD_LOG_FORMAT", default_value = "text")]
    #[arg(value_parser = Format::from_str)]
    pub log_format: Format,
}

/// The process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub struct ProcessFlags {
    /// Simulate the world: every random number comes from SEED, and time stands still except for
    /// the command `advance`
    ///
    /// For test harnesses, which write all their input before they read: one input always gives
    /// one output, byte for byte. Codes can be foretold, so it only ever writes to an outbox.
    #[arg(long, value_name = "SEED")]
    pub simulate: Option<u64>,
    /// End when the parent process ends, even if other processes hold the pipe open
    ///
    /// The kernel takes the end of the thread that started otpd for the end of the parent.
    #[arg(long, env = "OTPD_DIE_WITH_PARENT")]
    #[arg(value_parser = clap::builder::FalseyValueParser::new())]
    pub die_with_parent: bool,
}

/// Reads a whole number within bounds.
fn within<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            format!("expected a whole number from {} to {}", range.start(), range.end())
        })
    }
}

/// Reads a duration such as `90s`, `10m` or `24h`; a bare number is seconds.
fn span(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let bare = text.parse().map(Duration::from_secs).ok();
    let span = bare.or_else(|| humantime::parse_duration(text).ok());
    let whole = span.filter(|span| span.subsec_nanos() == 0 && range.contains(span));
    whole.ok_or_else(|| {
        format!(
            "expected a time such as 90s, 10m or 24h, from {}s to {}s",
            range.start().as_secs(),
            range.end().as_secs()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(args: &[&str]) -> Result<Policy, String> {
        let args = ["otpd", "policy"].iter().chain(args);
        match Cli::read(args).map_err(|err| err.to_string())?.command {
            Command::Policy { policy, .. } => policy.policy(),
            _ => Err("another command".to_owned()),
        }
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn without_flags_the_policy_is_the_default() {
        assert_eq!(policy(&[]), Ok(Policy::default()));
    }

    #[test]
    fn values_within_their_bounds_are_taken_and_no_others() {
        let cases: [(&str, &[&str], &[&str]); 12] = [
            ("--digits", &["6", "10"], &["5", "11", "0", "-1", "6.0", "", "six"]),
            ("--ttl", &["60s", "10m", "24h", "600", "1h 30m"], &["59s", "86401s", "0", "61500ms"]),
            ("--attempts", &["1", "10"], &["0", "11"]),
            ("--failures-per-day", &["1", "100"], &["0", "101", "256"]),
            ("--consecutive-failures", &["1", "100"], &["0", "101"]),
            ("--cool-down", &["1s", "1", "1h"], &["0s", "3601s", "x", "1x", ""]),
            ("--mails-per-hour", &["1", "10"], &["0", "1001"]),
            ("--mails-per-day", &["1", "1000"], &["0", "1001"]),
            ("--live-sessions", &["1", "10"], &["0", "11"]),
            ("--client-per-hour", &["1", "1000000"], &["0", "1000001"]),
            ("--capacity", &["1", "100000000"], &["0", "100000001"]),
            ("--remembered", &["1", "1000000000"], &["0", "1000000001"]),
        ];
        for (flag, inside, outside) in cases {
            for value in inside {
                assert!(policy(&[flag, value]).is_ok(), "{flag} {value}");
            }
            for value in outside {
                assert!(policy(&[&format!("{flag}={value}")]).is_err(), "{flag} {value}");
            }
        }
    }

    #[test]
    fn a_default_gives_way_to_what_was_asked_for_and_only_becomes_stricter() {
        assert_eq!(policy(&["--failures-per-day", "3"]).map(|policy| policy.attempts), Ok(3));
        assert_eq!(policy(&["--mails-per-day", "2"]).map(|policy| policy.mails_per_hour), Ok(2));
        assert!(policy(&["--attempts", "6", "--failures-per-day", "5"]).is_err());
        assert!(policy(&["--mails-per-hour", "11"]).is_err());
    }
}
