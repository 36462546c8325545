//! The wire: a socket that never waits longer than its deadline, in clear or under TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::conversation::Wire;
use super::fault::{Cause, Fault, Step};
use crate::clock::{Clock, Moment};
use crate::mail::wait::ready;

/// Looks names up, without waiting longer than a deadline for a resolver that may.
#[derive(Debug, Default)]
pub struct Resolver {
    /// A look-up that outlived the message it was begun for: it is waited for before another is.
    pending: Option<Receiver<io::Result<Vec<SocketAddr>>>>,
}

impl Resolver {
    /// The addresses of a name, or the one that it is.
    ///
    /// # Errors
    /// [`Fault`]: there are none, or not in time.
    pub fn look_up(
        &mut self,
        host: &str,
        port: u16,
        clock: &dyn Clock,
        deadline: Moment,
    ) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let failed = |err: io::Error| Fault::lost(Step::LookUp, err.to_string());
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => begin_look_up(host.to_owned(), port).map_err(failed)?,
        };
        match pending.recv_timeout(clock.now().until(deadline)) {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(Ok(_)) => Err(Fault::lost(Step::LookUp, "the name has no address")),
            Ok(Err(err)) => Err(failed(err)),
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(pending);
                Err(Fault { step: Step::LookUp, cause: Cause::Late })
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Fault::lost(Step::LookUp, "the look-up ended"))
            }
        }
    }
}

/// In a thread of its own: the system's resolver knows no deadline.
fn begin_look_up(host: String, port: u16) -> io::Result<Receiver<io::Result<Vec<SocketAddr>>>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new().name("otpd-look-up".to_owned()).spawn(move || {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&(host, port));
        let _ = sender.send(found.map(Iterator::collect));
    })?;
    Ok(receiver)
}

/// Connects to the first of the addresses that answers.
///
/// # Errors
/// [`Fault`]: none did, or not in time.
pub fn connect(
    addresses: &[SocketAddr],
    clock: &dyn Clock,
    deadline: Moment,
) -> Result<TcpStream, Fault> {
    let mut fault = Fault { step: Step::Connect, cause: Cause::Late };
    for (address, share) in addresses.iter().zip((1_u32..=addresses.len() as u32).rev()) {
        // One that keeps silent must not take the time of those behind it.
        let patience = clock.now().until(deadline) / share;
        if patience < Duration::from_millis(1) {
            break;
        }
        match TcpStream::connect_timeout(address, patience) {
            Ok(socket) => return Ok(socket),
            Err(err) => fault = Fault::lost(Step::Connect, format!("{address}: {err}")),
        }
    }
    Err(fault)
}

/// Who the other end must prove to be.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whom to trust.
    pub config: Arc<ClientConfig>,
    /// The name in its certificate.
    pub name: ServerName<'static>,
}

/// A connection.
#[derive(Debug)]
pub struct Stream<C> {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    identity: Identity,
    clock: C,
    deadline: Moment,
}

impl<C: Clock> Stream<C> {
    /// A connection in clear.
    ///
    /// # Errors
    /// [`Fault`]: the system doesn't let it be used.
    pub fn new(
        socket: TcpStream,
        identity: Identity,
        clock: C,
        deadline: Moment,
    ) -> Result<Self, Fault> {
        socket
            .set_nonblocking(true)
            .and_then(|()| socket.set_nodelay(true))
            .map_err(|err| Fault::lost(Step::Connect, err.to_string()))?;
        Ok(Self { socket, tls: None, identity, clock, deadline })
    }

    /// Until when everything must be done from here on.
    pub const fn set_deadline(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    /// Whether the other end has neither closed nor said anything. What TLS has to say to itself
    /// does not count.
    pub fn is_silent(&mut self) -> bool {
        let Some(tls) = &mut self.tls else {
            let peeked = self.socket.peek(&mut [0]);
            return peeked.is_err_and(|err| err.kind() == ErrorKind::WouldBlock);
        };
        loop {
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return false,
                Ok(_) => match tls.process_new_packets() {
                    Ok(state) if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() => {
                        return false;
                    }
                    Ok(_) => {}
                    Err(_) => return false,
                },
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return err.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Waits for the socket if `err` says that it is not ready.
    fn wait_after(&self, err: &io::Error, flags: PollFlags, step: Step) -> Result<(), Fault> {
        match err.kind() {
            ErrorKind::Interrupted => Ok(()),
            ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(&self.socket, flags)];
                match ready(&mut fds, &self.clock, self.deadline) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(Fault { step, cause: Cause::Late }),
                    Err(err) => Err(Fault::lost(step, err.to_string())),
                }
            }
            _ => Err(Fault::lost(step, err.to_string())),
        }
    }

    /// Reads what has come for TLS. None: the other end has closed the connection.
    fn read_tls(&mut self, step: Step) -> Result<Option<()>, Fault> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(None) };
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Ok(None),
                Ok(_) => {
                    if let Err(err) = tls.process_new_packets() {
                        // The other end is told what is wrong, if it listens.
                        let _ = tls.write_tls(&mut self.socket);
                        return Err(Fault::breach(step, err.to_string()));
                    }
                    return Ok(Some(()));
                }
                Err(err) => self.wait_after(&err, PollFlags::IN, step)?,
            }
        }
    }

    /// Writes what TLS has to write.
    fn flush_tls(&mut self, step: Step) -> Result<(), Fault> {
        loop {
            match &mut self.tls {
                Some(tls) if tls.wants_write() => {
                    if let Err(err) = tls.write_tls(&mut self.socket) {
                        self.wait_after(&err, PollFlags::OUT, step)?;
                    }
                }
                _ => return Ok(()),
            }
        }
    }
}

impl<C: Clock> Wire for Stream<C> {
    fn read(&mut self, bytes: &mut [u8], step: Step) -> Result<usize, Fault> {
        loop {
            // The deadline holds as well for a server that always has another byte to say.
            if self.clock.now() >= self.deadline {
                return Err(Fault { step, cause: Cause::Late });
            }
            let read = match &mut self.tls {
                None => self.socket.read(bytes),
                Some(tls) => tls.reader().read(bytes),
            };
            match read {
                Ok(count) => return Ok(count),
                Err(err) if self.tls.is_some() && err.kind() == ErrorKind::WouldBlock => {
                    self.flush_tls(step)?;
                    // Without a word of farewell, so that the next read says so.
                    self.read_tls(step)?;
                }
                Err(err) => self.wait_after(&err, PollFlags::IN, step)?,
            }
        }
    }

    fn write(&mut self, bytes: &[u8], step: Step) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = match &mut self.tls {
                None => self.socket.write(rest),
                Some(tls) => tls.writer().write(rest),
            };
            match written {
                Ok(count) => rest = &rest[count..],
                Err(err) => self.wait_after(&err, PollFlags::OUT, step)?,
            }
            self.flush_tls(step)?;
        }
        Ok(())
    }

    fn start_tls(&mut self) -> Result<String, Fault> {
        let Identity { config, name } = self.identity.clone();
        let tls = ClientConnection::new(config, name)
            .map_err(|err| Fault::breach(Step::Tls, err.to_string()))?;
        self.tls = Some(Box::new(tls));
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush_tls(Step::Tls)?;
            if self.clock.now() >= self.deadline {
                return Err(Fault { step: Step::Tls, cause: Cause::Late });
            }
            if self.read_tls(Step::Tls)?.is_none() {
                return Err(Fault::lost(Step::Tls, "the server closed the connection"));
            }
        }
        self.flush_tls(Step::Tls)?;
        let version = self.tls.as_ref().and_then(|tls| tls.protocol_version());
        Ok(version
            .and_then(|version| version.as_str().map(|name| name.replace("_", ".")))
            .unwrap_or_default())
    }
}
