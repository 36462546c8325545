//! One conversation with a mail server: what is said, what must be answered, and nothing believed
//! that was not asked for.
//!
//! It runs over a [`Wire`], which knows about sockets, TLS and deadlines; here are only bytes.

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::fault::{Fault, Step};
use super::reply::{Reply, ReplyReader};
use crate::mail::Message;

/// What a conversation runs over. Whoever implements it bounds every call by a deadline.
pub trait Wire {
    /// Reads at least one byte; none if the other end has closed.
    ///
    /// # Errors
    /// [`Fault`] at `step`.
    fn read(&mut self, bytes: &mut [u8], step: Step) -> Result<usize, Fault>;

    /// Writes all bytes.
    ///
    /// # Errors
    /// [`Fault`] at `step`: then the other end has not got all of them.
    fn write(&mut self, bytes: &[u8], step: Step) -> Result<(), Fault>;

    /// Goes on under TLS. What it is about, for the operator.
    ///
    /// # Errors
    /// [`Fault`]: nothing was said that the handshake does not say.
    fn start_tls(&mut self) -> Result<String, Fault>;
}

/// A conversation that has been begun.
#[derive(Debug)]
pub struct Conversation<W> {
    wire: W,
    /// What was read and not yet understood.
    unread: Vec<u8>,
    offers: Offers,
    /// Whether nothing more can be said.
    is_over: bool,
}

/// What a server offers, of what is of use here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offers {
    /// RFC 3207.
    starttls: bool,
    /// RFC 2920: commands may be sent before the one ahead of them was answered.
    pipelining: bool,
    /// RFC 4616.
    auth_plain: bool,
    /// Older than any RFC, and all that some servers know.
    auth_login: bool,
}

impl<W: Wire> Conversation<W> {
    /// Listens to the server's first words.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn begin(wire: W) -> Result<(Self, Reply), Fault> {
        let mut conversation =
            Self { wire, unread: Vec::new(), offers: Offers::default(), is_over: false };
        let greeting = conversation.expect(Step::Greeting, |reply| reply.code == 220)?;
        Ok((conversation, greeting))
    }

    /// Says hello, and learns what the server offers.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn hello(&mut self, name: &str) -> Result<Reply, Fault> {
        self.say(format!("EHLO {name}\r\n").as_bytes(), Step::Hello)?;
        let mut reply = self.reply(Step::Hello)?;
        if matches!(reply.code, 500 | 502) {
            // A server from before 1995 offers nothing, and may be all that is needed.
            self.say(format!("HELO {name}\r\n").as_bytes(), Step::Hello)?;
            reply = self.reply(Step::Hello)?;
            reply.lines.truncate(1);
        }
        if reply.code != 250 {
            return Err(Fault::refused(Step::Hello, reply));
        }
        self.offers = Offers::of(&reply);
        Ok(reply)
    }

    /// Goes on under TLS; the server must be said hello to once more. What was learned before is
    /// forgotten, and what was received before is not believed (CVE-2011-0411 and its kind).
    ///
    /// # Errors
    /// [`Fault`]: it is not offered, refused, tampered with, or the handshake failed.
    pub fn start_tls(&mut self) -> Result<String, Fault> {
        if !self.offers.starttls {
            return Err(Fault::breach(Step::Tls, "the server does not offer STARTTLS"));
        }
        self.say(b"STARTTLS\r\n", Step::Tls)?;
        self.expect(Step::Tls, |reply| reply.code == 220)?;
        if !self.unread.is_empty() {
            return Err(Fault::breach(Step::Tls, "bytes in clear after the reply to STARTTLS"));
        }
        self.offers = Offers::default();
        self.wire.start_tls()
    }

    /// Logs in. What is refused may repeat the password.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<Reply, Fault> {
        if self.offers.auth_plain {
            let plain = Zeroizing::new(format!("\0{user}\0{password}"));
            self.say(&line(b"AUTH PLAIN ", plain.as_bytes()), Step::LogIn)?;
        } else if self.offers.auth_login {
            self.say(b"AUTH LOGIN\r\n", Step::LogIn)?;
            self.expect(Step::LogIn, |reply| reply.code == 334)?;
            self.say(&line(b"", user.as_bytes()), Step::LogIn)?;
            self.expect(Step::LogIn, |reply| reply.code == 334)?;
            self.say(&line(b"", password.as_bytes()), Step::LogIn)?;
        } else {
            let why = "the server offers no log-in that otpd knows (PLAIN, LOGIN); \
                       some offer one only under TLS";
            return Err(Fault::breach(Step::LogIn, why));
        }
        self.expect(Step::LogIn, |reply| reply.code == 235)
    }

    /// Hands a message over. When it was refused, there is only good-bye left to say: servers differ
    /// in what they remember of it, and slow down whoever comes with the next refusal.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn send(&mut self, from: &str, message: &Message) -> Result<(), Fault> {
        self.envelope(from, &message.to)?;
        if !message.leave.take() {
            self.is_over = true;
            return Err(Fault::lost(Step::Data, "the end came before the message"));
        }
        // In one piece: a final dot in a packet of its own waits 40 ms for the one before it.
        self.say(&stuffed(&message.bytes), Step::Message)?;
        let answer = self.reply(Step::Answer)?;
        match answer.is_yes() {
            true => Ok(()),
            false => Err(self.refused(Step::Answer, answer)),
        }
    }

    /// Says good-bye, if it can be said. Nobody waits for what the server says to that.
    pub fn quit(mut self) {
        if !self.is_over() {
            let _ = self.say(b"QUIT\r\n", Step::Quit);
        }
    }

    /// Whether nothing more can be said.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        // What was not asked for would be taken for the answer to what is asked next.
        self.is_over || !self.unread.is_empty()
    }

    /// What it runs over.
    pub const fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Says whom a message is from and to, and asks for leave to hand it over.
    fn envelope(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        let commands = [
            (Step::From, format!("MAIL FROM:<{from}>\r\n")),
            (Step::To, format!("RCPT TO:<{to}>\r\n")),
            (Step::Data, "DATA\r\n".to_owned()),
        ];
        let pipelined = self.offers.pipelining;
        if pipelined {
            let all: String = commands.iter().map(|(_, command)| command.as_str()).collect();
            self.say(all.as_bytes(), Step::From)?;
        }
        let mut refusal = None;
        for (step, command) in &commands {
            if !pipelined {
                if refusal.is_some() {
                    break;
                }
                self.say(command.as_bytes(), *step)?;
            }
            let reply = self.reply(*step)?;
            let is_right = if *step == Step::Data { reply.code == 354 } else { reply.is_yes() };
            if !is_right {
                let fault = self.refused(*step, reply);
                refusal.get_or_insert(fault);
            } else if *step == Step::Data && refusal.is_some() {
                // It waits for a message that must not be handed over: only hanging up stops that.
                self.is_over = true;
            }
            if self.is_over {
                break;
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    fn expect(&mut self, step: Step, is_right: impl Fn(&Reply) -> bool) -> Result<Reply, Fault> {
        let reply = self.reply(step)?;
        match is_right(&reply) {
            true => Ok(reply),
            false => Err(self.refused(step, reply)),
        }
    }

    /// A reply other than the one that was asked for. A no leaves the conversation whole, except
    /// for 421, which ends it.
    fn refused(&mut self, step: Step, reply: Reply) -> Fault {
        self.is_over |= !reply.is_no() || reply.code == 421;
        Fault::refused(step, reply)
    }

    /// Writes what is said. There must be nothing unread: a server that answers before it is asked
    /// would be believed for an answer to what is said next.
    fn say(&mut self, bytes: &[u8], step: Step) -> Result<(), Fault> {
        let said = match self.unread.is_empty() {
            true => self.wire.write(bytes, step),
            false => Err(Fault::breach(step, "the server spoke before it was asked")),
        };
        self.is_over |= said.is_err();
        said
    }

    fn reply(&mut self, step: Step) -> Result<Reply, Fault> {
        let reply = self.read_reply(step);
        self.is_over |= reply.is_err();
        reply
    }

    fn read_reply(&mut self, step: Step) -> Result<Reply, Fault> {
        let mut reader = ReplyReader::default();
        loop {
            let (taken, reply) =
                reader.feed(&self.unread).map_err(|what| Fault::no_reply(step, what))?;
            self.unread.drain(..taken);
            if let Some(reply) = reply {
                return Ok(reply);
            }
            let mut bytes = [0; 4_096];
            let count = self.wire.read(&mut bytes, step)?;
            if count == 0 {
                return Err(Fault::lost(step, "the server closed the connection"));
            }
            self.unread.extend_from_slice(&bytes[..count]);
        }
    }
}

impl Offers {
    /// What the lines of a server's hello offer, the first of which is its name.
    fn of(hello: &Reply) -> Self {
        let mut offers = Self::default();
        for line in hello.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // `AUTH=` is how servers for very old programs write it.
            let mut words = line.split([' ', '=']);
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("PIPELINING") => offers.pipelining = true,
                Some("AUTH") => {
                    for word in words {
                        offers.auth_plain |= word == "PLAIN";
                        offers.auth_login |= word == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}

/// A line of base64.
fn line(command: &[u8], secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = BASE64.encode_len(secret.len());
    let mut line = Zeroizing::new(vec![0; command.len() + length + 2]);
    line[..command.len()].copy_from_slice(command);
    BASE64.encode_mut(secret, &mut line[command.len()..command.len() + length]);
    line[command.len() + length..].copy_from_slice(b"\r\n");
    line
}

/// The message as it travels: a dot more where a line begins with one, and the dot that ends it
/// (RFC 5321 §4.5.2).
fn stuffed(message: &[u8]) -> Zeroizing<Vec<u8>> {
    let dots = memchr::memmem::find_iter(message, b"\n.").count() + 1;
    let mut stuffed = Zeroizing::new(Vec::with_capacity(message.len() + dots + 5));
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    if !message.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

#[cfg(test)]
mod tests;
