//! From flags and environment to whoever carries mail, and the look at it before the first user
//! comes.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::rc::Rc;

use rustix::fs::{Access, OFlags};
use zeroize::Zeroizing;

use super::flags::{MailFlags, Route};
use crate::clock::Clock;
use crate::mail::outbox::Outbox;
use crate::mail::post::Post;
use crate::mail::sendmail::Sendmail;
use crate::mail::smtp::relay::Relay;
use crate::mail::smtp::trust::{self, Authority};
use crate::mail::smtp::{PAUSE, Smtp, Terms};
use crate::mail::{Carrier, Transport};
use crate::system::SystemClock;

/// Programs that carry mail at the same time.
const SENDMAILS: usize = 4;
/// Where the password is looked for, besides the file and the URL.
const PASSWORD: &str = "OTPD_SMTP_PASSWORD";
/// Longest password in a file, in bytes: a file that is longer is some other file.
const PASSWORD_MAX: u64 = 4_096;
/// Largest file of certificate authorities, in bytes: four times what whole systems trust.
const AUTHORITIES_MAX: u64 = 1 << 20;

/// Whoever carries mail. `clock` is that of the messages, which may be a simulated one.
///
/// # Errors
/// A sentence: what is configured can't work.
pub fn carrier(
    flags: &MailFlags,
    clock: Rc<dyn Clock>,
    system: SystemClock,
) -> Result<Carrier, String> {
    let post = match flags.route()? {
        Route::Outbox(path) => return Ok(Carrier::Here(Box::new(Outbox::open(path, clock)?))),
        Route::Sendmail(program) => {
            let sendmail = sendmail(program, flags, system)?;
            post(&sendmail, SENDMAILS, flags)
        }
        Route::Smtp(url) => {
            post(&smtp(url, flags, system)?, usize::from(flags.smtp_connections), flags)
        }
    };
    Ok(Carrier::Away(post?))
}

/// Goes as far as can be gone without sending anything, and gives each step to `tell`. True if
/// nothing stands in the way of a message.
///
/// # Errors
/// A sentence: what is configured can't work.
pub fn check(
    flags: &MailFlags,
    clock: SystemClock,
    tell: &mut dyn FnMut(&str, Result<&str, &str>),
) -> Result<bool, String> {
    match flags.route()? {
        Route::Outbox(path) => {
            Outbox::open(path, Rc::new(clock))?;
            tell("outbox", Ok(path));
        }
        Route::Sendmail(program) => {
            sendmail(program, flags, clock)?;
            tell("sendmail", Ok(program));
        }
        Route::Smtp(url) => {
            let mut smtp = smtp(url, flags, clock)?;
            tell("relay", Ok(&smtp.relay().to_string()));
            return Ok(smtp.check(tell));
        }
    }
    Ok(true)
}

/// Whether there is a password for the mail server, and nobody who logs in with it.
#[must_use]
pub fn has_idle_password(flags: &MailFlags) -> bool {
    let Ok(Route::Smtp(url)) = flags.route() else { return false };
    let is_named = std::env::var_os(PASSWORD).is_some_and(|password| !password.is_empty());
    (is_named || flags.smtp_password_file.is_some())
        && Relay::parse(url).is_ok_and(|relay| relay.user.is_none())
}

fn post<T>(transport: &T, count: usize, flags: &MailFlags) -> Result<Post, String>
where
    T: Transport + Send + Clone + 'static,
{
    let one = || -> Box<dyn Transport + Send> { Box::new(transport.clone()) };
    Post::start((0..count).map(|_| one()).collect(), flags.delivery_timeout)
        .map_err(|err| format!("no threads to carry mail: {err}"))
}

fn sendmail(
    program: &str,
    flags: &MailFlags,
    clock: SystemClock,
) -> Result<Sendmail<SystemClock>, String> {
    rustix::fs::access(program, Access::EXEC_OK)
        .map_err(|err| format!("`--sendmail {program}` can't be run: {err}"))?;
    if !program.contains('/') || !std::fs::metadata(program).is_ok_and(|it| it.is_file()) {
        return Err(format!("`--sendmail {program}` is not the path of a program"));
    }
    let from = flags.from()?.into_text().into();
    Ok(Sendmail::new(program.to_owned(), from, flags.delivery_timeout, clock))
}

fn smtp(url: &str, flags: &MailFlags, clock: SystemClock) -> Result<Smtp<SystemClock>, String> {
    let mut relay =
        Relay::parse(url).map_err(|why| format!("`--smtp` or `OTPD_SMTP_URL`: {why}"))?;
    relay.password = password(&relay, flags.smtp_password_file.as_deref())?;
    if relay.user.is_some() && relay.password.is_none() {
        return Err(format!(
            "the mail server's URL names a user, and there is no password: give it in `{PASSWORD}` \
             or `--smtp-password-file`"
        ));
    }
    let authorities = flags.smtp_ca.as_deref().map(authorities).transpose()?;
    let terms = Terms {
        identity: trust::identity(&relay.host, &authorities.unwrap_or_default())?,
        relay,
        from: flags.from()?.into_text().into(),
        hello: flags.smtp_hello.clone(),
        timeout: flags.delivery_timeout,
        pause: PAUSE,
    };
    Ok(Smtp::new(terms, clock))
}

/// The password, from the one place where there is one.
fn password(relay: &Relay, file: Option<&str>) -> Result<Option<Zeroizing<String>>, String> {
    let named = std::env::var_os(PASSWORD).filter(|password| !password.is_empty());
    let mut found = Vec::from_iter(relay.password.clone());
    if let Some(password) = named {
        let text = password.into_string().map_err(|_| format!("`{PASSWORD}` is not text"))?;
        found.push(Zeroizing::new(text));
    }
    if let Some(path) = file {
        let why = |why| format!("`--smtp-password-file {path}`: {why}");
        found.push(password_in(path).map_err(why)?);
    }
    if found.len() > 1 {
        return Err("the mail server's password is given more than once".to_owned());
    }
    if found.iter().any(|password| password.chars().any(char::is_control)) {
        return Err("the mail server's password has control characters".to_owned());
    }
    Ok(found.pop())
}

/// The certificate authorities in a file.
fn authorities(path: &str) -> Result<Vec<Authority>, String> {
    let read = || -> Result<Vec<Authority>, String> {
        let (file, about) = open(path)?;
        if about.len() > AUTHORITIES_MAX {
            return Err("it is too large".to_owned());
        }
        let mut text = Vec::new();
        file.take(AUTHORITIES_MAX).read_to_end(&mut text).map_err(|err| err.to_string())?;
        trust::authorities(&text)
    };
    read().map_err(|why| format!("`--smtp-ca {path}`: {why}"))
}

/// The first line of a file that nobody else can read.
fn password_in(path: &str) -> Result<Zeroizing<String>, String> {
    let (file, about) = open(path)?;
    if about.mode() & 0o077 != 0 {
        return Err(format!(
            "others may use it (mode {:04o}): `chmod 600` it",
            about.mode() & 0o7777
        ));
    }
    let mut text = Zeroizing::new(String::with_capacity(PASSWORD_MAX as usize + 1));
    file.take(PASSWORD_MAX + 1).read_to_string(&mut text).map_err(|err| err.to_string())?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password.len() as u64 {
        0 => Err("it is empty".to_owned()),
        1..=PASSWORD_MAX => Ok(Zeroizing::new(password.to_owned())),
        _ => Err("it is too long for a password".to_owned()),
    }
}

/// Opens a plain file. A pipe would keep us waiting for whoever writes to it.
fn open(path: &str) -> Result<(File, Metadata), String> {
    let at_once = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(at_once).open(path);
    let file = file.map_err(|err| err.to_string())?;
    let about = file.metadata().map_err(|err| err.to_string())?;
    match about.is_file() {
        true => Ok((file, about)),
        false => Err("not a file".to_owned()),
    }
}
