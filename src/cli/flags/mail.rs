//! Where mail goes and who it is from.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;

use super::{span, within};
use crate::address::Address;
use crate::mail::sender::Sender;

/// Where messages are written when nothing else is configured.
pub const OUTBOX: &str = "./outbox";
/// The sender when none is configured. Mail that leaves this machine needs a real one.
const FROM: &str = "verification@otpd.example";

/// How long a mail may take from leaving the queue to its answer, and wait in the queue.
const DELIVERY_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_secs(3)..=Duration::from_secs(300);

/// Where mail goes and who it is from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mail")]
pub struct MailFlags {
    /// Write messages into DIR, one `.eml` file each [default: ./outbox]
    ///
    /// DIR is made if it is not there. One that belongs to somebody else, or that others can write
    /// to, is refused.
    #[arg(long, value_name = "DIR", env = "OTPD_OUTBOX")]
    pub outbox: Option<String>,
    /// Hand messages to the program at PATH, as `PATH -i -f FROM -- TO`, four at a time
    ///
    /// The message is on its standard input. Exit status 0 is sent, 75 may be tried again later, any
    /// other is refused; one that has not ended in time is ended, and its mail is uncertain.
    #[arg(long, value_name = "PATH", env = "OTPD_SENDMAIL")]
    pub sendmail: Option<String>,
    /// Hand messages to the mail server at URL, `smtps://USER@HOST:465` or `smtp://USER@HOST:587`
    ///
    /// The first is under TLS from the first byte, the second after STARTTLS. Only a server on this
    /// machine is spoken to in clear, and with `?tls=required` not even that. A password may be in
    /// the URL only in the environment; OTPD_SMTP_PASSWORD is the better place.
    #[arg(long, value_name = "URL", env = "OTPD_SMTP_URL")]
    pub smtp: Option<String>,
    /// Read the mail server's password from FILE, which nobody else may read (mode 0600)
    #[arg(long, value_name = "FILE", env = "OTPD_SMTP_PASSWORD_FILE")]
    pub smtp_password_file: Option<String>,
    /// Trust the certificate authorities in FILE (PEM) besides those of this system
    #[arg(long, value_name = "FILE", env = "OTPD_SMTP_CA")]
    pub smtp_ca: Option<String>,
    /// The name to say hello with [default: this machine's address]
    #[arg(long, value_name = "NAME", env = "OTPD_SMTP_HELLO", value_parser = hello)]
    pub smtp_hello: Option<String>,
    /// Connections to the mail server, kept and used for many messages, 1–64
    #[arg(long, value_name = "N", env = "OTPD_SMTP_CONNECTIONS", default_value_t = 4)]
    #[arg(value_parser = within(1_u8..=64))]
    pub smtp_connections: u8,
    /// The address that messages are from; required with --smtp and --sendmail, otherwise
    /// verification@otpd.example if not given
    #[arg(long, value_name = "ADDRESS", env = "OTPD_FROM")]
    pub from: Option<String>,
    /// How long a mail may take, and wait before that, 3–300 seconds
    #[arg(long, value_name = "SECONDS", env = "OTPD_DELIVERY_TIMEOUT", default_value = "30")]
    #[arg(value_parser = |text: &str| span(text, &DELIVERY_TIMEOUT))]
    pub delivery_timeout: Duration,
    /// Who asks for the code, in the words of the message
    #[arg(long, value_name = "NAME", env = "OTPD_PRODUCT", default_value = "otpd")]
    pub product: String,
}

/// Where mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// Into a directory.
    Outbox(&'a str),
    /// To a program.
    Sendmail(&'a str),
    /// To a mail server.
    Smtp(&'a str),
}

impl MailFlags {
    /// Where mail goes.
    ///
    /// # Errors
    /// A sentence, if it would go to more than one place, or comes from nobody.
    pub fn route(&self) -> Result<Route<'_>, String> {
        match (self.outbox.as_deref(), self.sendmail.as_deref(), self.smtp.as_deref()) {
            (outbox, None, None) => Ok(Route::Outbox(outbox.unwrap_or(OUTBOX))),
            (None, Some(_), None) | (None, None, Some(_)) if self.from.is_none() => {
                Err("`--smtp` and `--sendmail` need `--from`".to_owned())
            }
            (None, Some(program), None) => Ok(Route::Sendmail(program)),
            (None, None, Some(url)) => Ok(Route::Smtp(url)),
            _ => Err("only one of `--outbox`, `--sendmail` and `--smtp` (or `OTPD_SMTP_URL`) can \
                      be used"
                .to_owned()),
        }
    }

    /// The address that messages are from.
    ///
    /// # Errors
    /// A sentence, if mail can't be sent to it.
    pub fn from(&self) -> Result<Address, String> {
        Address::parse(self.from.as_deref().unwrap_or(FROM))
            .map_err(|_| "`--from` is not an address that mail can be sent to".to_owned())
    }

    /// The sender of every message.
    ///
    /// # Errors
    /// A sentence, if the address or the name can't be used.
    pub fn sender(&self) -> Result<Sender, String> {
        Sender::new(&self.from()?, &self.product).map_err(|why| format!("`--product`: {why}"))
    }
}

/// Reads the name to say hello with: a name, or an address in brackets (RFC 5321 §4.1.1.1).
fn hello(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    match (1..=255).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("expected a name such as mail.example.org".to_owned()),
    }
}
