//! The mail system of this machine, by the command that every one of them has.
//!
//! `PROGRAM -i -f FROM -- TO`, never through a shell, the message on its standard input with the
//! line ends of this system. Its exit status is its answer (`sysexits.h`).

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use zeroize::Zeroizing;

use super::wait::ready;
use super::{DeliveryError, Message, Receipt, Transport};
use crate::clock::{Clock, Moment};

/// `EX_TEMPFAIL`: trying later may help.
const TEMPFAIL: i32 = 75;

/// How often a program that takes its time to read is given up, if this process ends meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// How long a program that was killed is waited for.
const REAP: Duration = Duration::from_secs(1);

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

    fn send(&self, message: &Message) -> Result<Receipt, DeliveryError> {
        let deadline = self.clock.now() + self.timeout;
        let mut child = self.start(&message.to).map_err(|err| {
            let reason = format!("`{}` can't be started: {err}", self.program);
            DeliveryError::without_reply(true, reason)
        })?;
        // Before a byte is handed over: a program that can't be waited for is not given a message.
        let pidfd = match rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        {
            Ok(pidfd) => pidfd,
            Err(err) => {
                let _ = child.kill();
                let _ = child.wait();
                let reason = format!("`{}` can't be waited for: {err}", self.program);
                return Err(DeliveryError::without_reply(true, reason));
            }
        };
        let mut stdin = child.stdin.take();
        let handed_over = self.hand_over(stdin.as_mut(), message, deadline);
        let stopped_reading =
            matches!(&handed_over, Err(err) if err.kind() == io::ErrorKind::BrokenPipe);
        // The end of its input makes the message whole, so leave for it is taken before that.
        let is_whole = matches!(handed_over, Ok(true)) && message.leave.take();
        if !is_whole && !stopped_reading {
            // The program must not see the end of a message that is cut: it is ended first.
            self.end(child, &pidfd);
            let reason = "sendmail did not take the message in time";
            return Err(DeliveryError::without_reply(true, reason));
        }
        drop(stdin);
        match self.wait(&mut child, &pidfd, deadline) {
            Some(status) if status.success() => Ok(Receipt::sent()),
            Some(status) => Err(refused(status)),
            None => {
                self.end(child, &pidfd);
                match stopped_reading {
                    false => Ok(Receipt::uncertain("sendmail did not end in time")),
                    true => {
                        let reason = "sendmail stopped reading and did not end".to_owned();
                        Err(DeliveryError::without_reply(true, reason))
                    }
                }
            }
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

    /// Writes the message. False if the deadline or the end of this process came first; an error if
    /// the program stopped reading, whose exit status then says why.
    fn hand_over(
        &self,
        stdin: Option<&mut ChildStdin>,
        message: &Message,
        deadline: Moment,
    ) -> io::Result<bool> {
        let Some(stdin) = stdin else { return Ok(false) };
        rustix::io::ioctl_fionbio(&*stdin, true)?;
        let text = with_lf(&message.bytes);
        let mut rest = &text[..];
        while !rest.is_empty() {
            match stdin.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    let now = self.clock.now();
                    if now >= deadline || message.leave.is_withdrawn() {
                        return Ok(false);
                    }
                    let soon = deadline.min(now + LOOK_AGAIN);
                    ready(&mut [PollFd::new(&*stdin, PollFlags::OUT)], &self.clock, soon)?;
                }
                Err(err) => return Err(err),
            }
        }
        Ok(true)
    }

    /// The exit status; none if the deadline came first.
    fn wait(&self, child: &mut Child, pidfd: &OwnedFd, deadline: Moment) -> Option<ExitStatus> {
        match self.has_ended(pidfd, deadline) {
            true => child.wait().ok(),
            false => None,
        }
    }

    fn has_ended(&self, pidfd: &OwnedFd, deadline: Moment) -> bool {
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        ready(&mut fds, &self.clock, deadline).unwrap_or(false)
    }

    /// Ends the program and what it started. One that may not be ended (it may run as somebody
    /// else) is left to a thread that waits for it, so that nobody else has to.
    fn end(&self, mut child: Child, pidfd: &OwnedFd) {
        let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.kill();
        if self.has_ended(pidfd, self.clock.now() + REAP) {
            let _ = child.wait();
        } else {
            let reap = move || drop(child.wait());
            let _ = std::thread::Builder::new().name("otpd-reap".to_owned()).spawn(reap);
        }
    }
}

impl<C: Clock> Transport for Sendmail<C> {
    fn via(&self) -> &'static str {
        "sendmail"
    }

    fn carry(&mut self, message: &Message) -> Result<Receipt, DeliveryError> {
        self.send(message)
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
    DeliveryError::without_reply(status.code() == Some(TEMPFAIL), reason)
}
