//! The mail system of this machine, by the command that every one of them has.
//!
//! `PROGRAM -i -f FROM -- TO`, never through a shell, the message on its standard input with the
//! line ends of this system. Its exit status is its answer (`sysexits.h`).

use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use zeroize::Zeroizing;

use super::{DeliveryError, Message, Receipt, Transport};
use crate::clock::{Clock, Moment};
use crate::engine::{Delivery, Failure};

/// `EX_TEMPFAIL`: trying later may help.
const TEMPFAIL: i32 = 75;

/// Hands messages to a program.
#[derive(Clone, Debug)]
pub struct Sendmail<C> {
    program: String,
    from: String,
    timeout: Duration,
    clock: C,
}

impl<C: Clock> Sendmail<C> {
    /// Messages from `from`, each of which has `timeout` to be taken.
    #[must_use]
    pub const fn new(program: String, from: String, timeout: Duration, clock: C) -> Self {
        Self { program, from, timeout, clock }
    }

    fn send(&self, message: &Message) -> Result<Delivery, DeliveryError> {
        let deadline = self.clock.now() + self.timeout;
        let mut child = self.start(&message.to).map_err(|err| {
            let reason = format!("`{}` can't be started: {err}", self.program);
            undelivered(true, reason)
        })?;
        let handed_over = self.hand_over(&mut child, message, deadline);
        if let Ok(false) = handed_over {
            return Err(undelivered(true, "sendmail did not take the message in time".to_owned()));
        }
        match self.wait(&mut child, deadline) {
            Some(status) if status.success() => Ok(Delivery::Sent),
            Some(status) => Err(refused(status)),
            None if handed_over.is_ok() => Ok(Delivery::Uncertain),
            None => Err(undelivered(true, "sendmail stopped reading and did not end".to_owned())),
        }
    }

    fn start(&self, to: &str) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(["-i", "-f", &self.from, "--", to]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTPD_") {
                command.env_remove(name);
            }
        }
        // A group of its own: Ctrl-C is not for it, and its children end with it.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    /// Writes the message and ends the input. False if the deadline came first; an error if the
    /// program stopped reading, whose exit status then says why.
    fn hand_over(
        &self,
        child: &mut Child,
        message: &Message,
        deadline: Moment,
    ) -> io::Result<bool> {
        let Some(mut stdin) = child.stdin.take() else { return Ok(false) };
        rustix::io::ioctl_fionbio(&stdin, true)?;
        let text = with_lf(&message.bytes);
        let mut rest = &text[..];
        while !rest.is_empty() {
            match stdin.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    if !ready(&mut [PollFd::new(&stdin, PollFlags::OUT)], &self.clock, deadline)? {
                        // The program must not see the end of a message that is cut.
                        self.end(child);
                        return Ok(false);
                    }
                }
                Err(err) => return Err(err),
            }
        }
        Ok(true)
    }

    /// The exit status; none if the deadline came first, and the program was ended.
    fn wait(&self, child: &mut Child, deadline: Moment) -> Option<ExitStatus> {
        let in_time = || -> io::Result<bool> {
            let pidfd = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
            ready(&mut [PollFd::new(&pidfd, PollFlags::IN)], &self.clock, deadline)
        };
        if in_time().unwrap_or(false) {
            return child.wait().ok();
        }
        self.end(child);
        None
    }

    fn end(&self, child: &mut Child) {
        let _ = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
        let _ = child.wait();
    }
}

impl<C: Clock> Transport for Sendmail<C> {
    fn via(&self) -> &'static str {
        "sendmail"
    }

    fn carry(&mut self, message: &Message) -> Result<Receipt, DeliveryError> {
        self.send(message).map(|delivery| Receipt { delivery, file: None })
    }
}

/// Waits until the descriptor is ready. False if the deadline came first.
fn ready(fds: &mut [PollFd<'_>], clock: &dyn Clock, deadline: Moment) -> io::Result<bool> {
    loop {
        let left = clock.now().until(deadline);
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(fds, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(err) => return Err(err.into()),
        }
    }
}

/// The message with the line ends of this system.
fn with_lf(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len()));
    text.extend(bytes.iter().filter(|b| **b != b'\r'));
    text
}

fn refused(status: ExitStatus) -> DeliveryError {
    let reason = match (status.code(), status.signal()) {
        (Some(code), _) => format!("sendmail ended with status {code}"),
        (None, signal) => format!("sendmail was ended by signal {}", signal.unwrap_or_default()),
    };
    undelivered(status.code() == Some(TEMPFAIL), reason)
}

fn undelivered(temporary: bool, reason: String) -> DeliveryError {
    DeliveryError { failure: Failure { temporary, smtp: None }, reason }
}
