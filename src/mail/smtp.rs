//! A mail relay, spoken to over kept connections.
//!
//! # Why a client of our own
//!
//! The mail library's transport (0.11.23) was measured and can't keep what is promised here: it
//! writes the final dot in a packet of its own (23 mails a second on a kept connection, whatever
//! the server), believes what arrived in clear before TLS, takes any 2xx or 3xx for a yes, bounds
//! single reads instead of messages (a server that dripped bytes held 1.5 s up for 16.9), and reads
//! a line without end into memory. A pool over its low-level connection would close the first and
//! the third; the buffer behind the others is not within reach. So the dialogue is ours, and the
//! hard parts are not: TLS is rustls, the messages are the library's.
//!
//! # How it is made
//!
//! [`conversation`] says what is to be said and believes nothing that it did not ask for, over a
//! [`stream`] that waits no longer than the message's deadline. [`reply`] reads what the server
//! says, [`words`] what of it may be told, [`fault`] is why it did not work and what follows from
//! that, [`relay`] and [`trust`] are where and whom, [`gate`] keeps a refused password from being
//! tried over and over.

pub mod conversation;
pub mod fault;
pub mod gate;
pub mod relay;
pub mod reply;
pub mod stream;
pub mod trust;
pub mod words;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::BASE64_NOPAD;
use zeroize::Zeroizing;

use super::{DeliveryError, Message, Receipt, Transport};
use crate::clock::{Clock, Moment};
use conversation::Conversation;
use fault::{Cause, Fault, Step};
use gate::Gate;
use relay::{Relay, Security};
use stream::{Identity, Resolver, Stream, connect};
use words::{shown, told};

/// How long a message waits before it is tried again after a temporary no, usually.
pub const PAUSE: Duration = Duration::from_secs(1);

/// What all connections to a relay have in common.
#[derive(Debug)]
pub struct Terms {
    /// Where to.
    pub relay: Relay,
    /// Who the relay must prove to be.
    pub identity: Identity,
    /// The sender of every message.
    pub from: String,
    /// How this machine calls itself; its address if it doesn't.
    pub hello: Option<String>,
    /// How long a message may take, everything included.
    pub timeout: Duration,
    /// How long it waits before it is tried again after a temporary no.
    pub pause: Duration,
}

impl Terms {
    /// The password, and what it looks like when it is sent.
    fn secrets(&self) -> Vec<Zeroizing<String>> {
        let (Some(user), Some(password)) = (&self.relay.user, &self.relay.password) else {
            return Vec::new();
        };
        let plain = Zeroizing::new(format!("\0{user}\0{}", password.as_str()));
        let coded = |text: &str| Zeroizing::new(BASE64_NOPAD.encode(text.as_bytes()));
        vec![password.clone(), coded(password), coded(&plain)]
    }
}

/// A way to a relay. Clones share their kept connections.
#[derive(Debug)]
pub struct Smtp<C> {
    shared: Arc<Shared<C>>,
    resolver: Resolver,
    clock: C,
}

type Talk<C> = Conversation<Stream<C>>;

#[derive(Debug)]
struct Shared<C> {
    terms: Terms,
    gate: Gate,
    /// With the time of their last use. The one used last is used next, so that no more are kept
    /// open than are needed.
    kept: Mutex<Vec<(Moment, Talk<C>)>>,
}

impl<C> Shared<C> {
    fn kept(&self) -> MutexGuard<'_, Vec<(Moment, Talk<C>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock + Clone> Clone for Smtp<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            resolver: Resolver::default(),
            clock: self.clock.clone(),
        }
    }
}

impl<C: Clock + Clone> Smtp<C> {
    /// A way to a relay; nothing is connected yet.
    #[must_use]
    pub fn new(terms: Terms, clock: C) -> Self {
        let shared = Shared { terms, gate: Gate::default(), kept: Mutex::default() };
        Self { shared: Arc::new(shared), resolver: Resolver::default(), clock }
    }

    /// Where to.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        &self.shared.terms.relay
    }

    /// Goes through everything that comes before a message, and says good-bye. Each step is told,
    /// done with what is worth knowing of it, or not, and why: then it was the last. True if all
    /// were done.
    pub fn check(&mut self, tell: &mut dyn FnMut(&str, Result<&str, &str>)) -> bool {
        let deadline = self.clock.now() + self.shared.terms.timeout;
        let shared = Arc::clone(&self.shared);
        let secrets = shared.terms.secrets();
        let secrets: Vec<&str> = secrets.iter().map(|it| it.as_str()).collect();
        let opened = self.open(deadline, &mut |step, about| {
            tell(&step.to_string(), Ok(&shown(about, &secrets)));
        });
        match opened {
            Ok(talk) => {
                talk.quit();
                true
            }
            Err(fault) => {
                let why = shown(&fault.cause.to_string(), &secrets);
                tell(&fault.step.to_string(), Err(&why));
                false
            }
        }
    }

    fn deliver(&mut self, message: &Message, deadline: Moment) -> Result<(), Fault> {
        let kept = self.take(deadline);
        let was_kept = kept.is_some();
        let Err(fault) = self.attempt(kept, message, deadline) else { return Ok(()) };
        if !fault.may_be_retried() {
            return Err(fault);
        }
        let again = match &fault.cause {
            // The server has ended a conversation that was kept too long for it.
            Cause::Refused(reply) if reply.code == 421 && was_kept => None,
            Cause::Refused(_) => {
                let pause = self.shared.terms.pause;
                if self.clock.now().until(deadline) <= pause {
                    return Err(fault);
                }
                std::thread::sleep(pause);
                self.take(deadline)
            }
            _ => None,
        };
        self.attempt(again, message, deadline).map_err(|second| {
            // What the first attempt was told says more than that the second had no time.
            if second.cause == Cause::Late && !second.is_doubtful() { fault } else { second }
        })
    }

    fn attempt(
        &mut self,
        kept: Option<Talk<C>>,
        message: &Message,
        deadline: Moment,
    ) -> Result<(), Fault> {
        let mut talk = match kept {
            Some(talk) => talk,
            None => self.open(deadline, &mut |_, _| {})?,
        };
        let sent = talk.send(&self.shared.terms.from, message);
        match sent.is_ok() && !talk.is_over() {
            true => self.shared.kept().push((self.clock.now(), talk)),
            false => talk.quit(),
        }
        sent
    }

    /// The kept connection that was used last, if the server still holds it.
    fn take(&self, deadline: Moment) -> Option<Talk<C>> {
        loop {
            let (_, mut talk) = self.shared.kept().pop()?;
            if talk.wire().is_silent() {
                talk.wire().set_deadline(deadline);
                return Some(talk);
            }
        }
    }

    fn open(
        &mut self,
        deadline: Moment,
        tell: &mut dyn FnMut(Step, &str),
    ) -> Result<Talk<C>, Fault> {
        let Terms { relay, identity, .. } = &self.shared.terms;
        if let Some(fault) = self.shared.gate.refusal(self.clock.now()) {
            return Err(fault);
        }
        let addresses = self.resolver.look_up(&relay.host, relay.port, &self.clock, deadline)?;
        let list: Vec<String> = addresses.iter().map(|it| it.ip().to_string()).collect();
        tell(Step::LookUp, &list.join(", "));
        let socket = connect(&addresses, &self.clock, deadline)?;
        let ends = socket.peer_addr().and_then(|peer| Ok((peer, socket.local_addr()?)));
        let (peer, local) = ends.map_err(|err| Fault::lost(Step::Connect, err.to_string()))?;
        tell(Step::Connect, &peer.to_string());
        let stream = Stream::new(socket, identity.clone(), self.clock.clone(), deadline)?;
        self.introduce(stream, (peer, local), deadline, tell)
    }

    fn introduce(
        &self,
        mut stream: Stream<C>,
        (peer, local): (SocketAddr, SocketAddr),
        deadline: Moment,
        tell: &mut dyn FnMut(Step, &str),
    ) -> Result<Talk<C>, Fault> {
        use conversation::Wire;
        let Terms { relay, hello, .. } = &self.shared.terms;
        if relay.security == Security::Implicit {
            tell(Step::Tls, &stream.start_tls()?);
        }
        let (mut talk, greeting) = Conversation::begin(stream)?;
        tell(Step::Greeting, greeting.first_line());
        let name = hello.clone().unwrap_or_else(|| literal(local.ip()));
        tell(Step::Hello, talk.hello(&name)?.first_line());
        let is_demanded = match relay.security {
            Security::Implicit => false,
            Security::StartTls => true,
            Security::StartTlsUnlessLocal => !peer.ip().to_canonical().is_loopback(),
        };
        if is_demanded {
            tell(Step::Tls, &talk.start_tls()?);
            tell(Step::Hello, talk.hello(&name)?.first_line());
        }
        if let (Some(user), Some(password)) = (&relay.user, &relay.password) {
            let late = Fault { step: Step::LogIn, cause: Cause::Late };
            let log_in = || talk.log_in(user, password);
            match self.shared.gate.pass(&self.clock, deadline, late, log_in) {
                Ok(reply) => tell(Step::LogIn, &reply.words()),
                Err(fault) => {
                    talk.quit();
                    return Err(fault);
                }
            }
        }
        Ok(talk)
    }

    /// What the operator is told of a fault: not whom the message was to, nor what could be its
    /// code, nor who logs in with what, whatever the server repeats.
    fn told(&self, fault: &Fault, message: &Message) -> String {
        let Cause::Refused(reply) = &fault.cause else { return fault.to_string() };
        let local = message.to.split('@').next().unwrap_or_default();
        let mailbox = local.split('+').next().unwrap_or_default();
        let logins = self.shared.terms.secrets();
        let user = self.shared.terms.relay.user.as_deref().unwrap_or_default();
        let mut secrets = vec![&*message.to, local, mailbox, user];
        secrets.extend(logins.iter().map(|it| it.as_str()));
        format!("{}: {}", fault.step, told(&reply.words(), &secrets))
    }
}

impl<C: Clock + Clone> Transport for Smtp<C> {
    fn via(&self) -> &'static str {
        "smtp"
    }

    fn carry(&mut self, message: &Message) -> Result<Receipt, DeliveryError> {
        let deadline = self.clock.now() + self.shared.terms.timeout;
        match self.deliver(message, deadline) {
            Ok(()) => Ok(Receipt::sent()),
            Err(fault) if fault.is_doubtful() => Ok(Receipt::uncertain(self.told(&fault, message))),
            Err(fault) => {
                Err(DeliveryError { failure: fault.failure(), reason: self.told(&fault, message) })
            }
        }
    }

    fn rest(&mut self, unused_for: Duration) {
        let now = self.clock.now();
        let is_unused = |(used, _): &mut (Moment, Talk<C>)| used.until(now) >= unused_for;
        let unused: Vec<_> = self.shared.kept().extract_if(.., is_unused).collect();
        for (_, mut talk) in unused {
            talk.wire().set_deadline(now);
            if talk.wire().is_silent() {
                talk.quit();
            }
        }
    }
}

/// An address as a name (RFC 5321 §4.1.3), for machines that have none to show.
fn literal(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_name_shows_its_address() {
        let name = |ip: &str| literal(ip.parse().expect("an address"));
        assert_eq!(name("192.0.2.1"), "[192.0.2.1]");
        assert_eq!(name("::ffff:192.0.2.1"), "[192.0.2.1]");
        assert_eq!(name("2001:db8::1"), "[IPv6:2001:db8::1]");
    }
}
