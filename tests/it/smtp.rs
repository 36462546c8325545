//! Mail servers that break every rule: each is a script that plays one, on this machine, and what
//! must come of it is known within the deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otpd::clock::Clock;
use otpd::engine::Delivery;
use otpd::mail::post::Post;
use otpd::mail::smtp::fault::Step;
use otpd::mail::smtp::relay::Relay;
use otpd::mail::smtp::stream::Resolver;
use otpd::mail::smtp::{Smtp, Terms, trust};
use otpd::mail::{Message, Transport};
use otpd::system::SystemClock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How long a message may take here, where nothing is far away.
const DEADLINE: Duration = Duration::from_millis(400);
/// A server that does nothing wrong takes no time; a busy machine does.
const AMPLE: Duration = Duration::from_secs(20);

/// Whatever a server talks over.
pub trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

/// What a server saw.
#[derive(Default)]
pub struct Seen {
    connections: AtomicUsize,
    pub messages: Mutex<Vec<String>>,
    /// Bytes that a server which talks without end got rid of.
    written: AtomicUsize,
}

impl Seen {
    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    fn messages(&self) -> usize {
        self.messages.lock().expect("whole").len()
    }
}

/// Starts a server that plays `script` on each connection, with its number from 1.
pub fn server<F>(script: F) -> (SocketAddr, Arc<Seen>)
where
    F: Fn(usize, TcpStream, &Seen) -> std::io::Result<()> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Arc::new(Seen::default());
    let (script, theirs) = (Arc::new(script), Arc::clone(&seen));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let number = theirs.connections.fetch_add(1, SeqCst) + 1;
            let (script, seen) = (Arc::clone(&script), Arc::clone(&theirs));
            std::thread::spawn(move || {
                // That a client goes away in the middle is what many of these tests are about.
                let stream = stream.expect("a connection");
                let _ = stream.set_nodelay(true).and_then(|()| script(number, stream, &seen));
            });
        }
    });
    (address, seen)
}

/// Plays a server that does as it is told, except for what `answer` says to a command or to a
/// message (`.`). An answer of nothing closes the connection.
pub fn converse(
    line: impl Line,
    seen: &Seen,
    answer: &dyn Fn(&str) -> Option<&'static str>,
) -> std::io::Result<()> {
    let mut line = BufReader::new(line);
    line.get_mut().write_all(b"220 relay\r\n")?;
    loop {
        let mut command = String::new();
        if line.read_line(&mut command)? == 0 {
            return Ok(());
        }
        let word = command.split([' ', '\r']).next().unwrap_or_default().to_owned();
        let usual = match word.as_str() {
            "EHLO" => "250-relay\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
            "DATA" => "354 go\r\n",
            "AUTH" => "235 ok\r\n",
            _ => "250 ok\r\n",
        };
        let reply = answer(&word).unwrap_or(usual);
        line.get_mut().write_all(reply.as_bytes())?;
        if reply.is_empty() {
            return Ok(());
        }
        if word == "DATA" && reply.starts_with("354") {
            let mut message = String::new();
            while !message.ends_with("\r\n.\r\n") {
                if line.read_line(&mut message)? == 0 {
                    return Ok(());
                }
            }
            let reply = answer(".").unwrap_or("250 queued\r\n");
            if reply.starts_with('2') {
                seen.messages.lock().expect("whole").push(message);
            }
            line.get_mut().write_all(reply.as_bytes())?;
            if reply.is_empty() {
                return Ok(());
            }
        }
    }
}

fn smtp(url: &str, ca: Option<&Authority>, timeout: Duration) -> Smtp<SystemClock> {
    let relay = Relay::parse(url).expect("a URL");
    let ca = ca.map(|ca| trust::authorities(ca.issuer.pem().as_bytes()).expect("an authority"));
    let terms = Terms {
        identity: trust::identity(&relay.host, &ca.unwrap_or_default()).expect("an identity"),
        relay,
        from: "otpd@acme.example".to_owned(),
        hello: None,
        timeout,
        pause: Duration::ZERO,
    };
    Smtp::new(terms, SystemClock::start())
}

fn message(number: usize) -> Message {
    let bytes = format!("Message-ID: <{number}>\r\n\r\n.048213\r\n").into_bytes();
    Message::new(&format!("u{number}@example.org"), &format!("T{number}"), bytes.into())
}

/// What became of a message, in words, and what the operator was told.
fn carry(smtp: &mut Smtp<SystemClock>, number: usize) -> (String, String) {
    match smtp.carry(&message(number)) {
        Ok(receipt) if receipt.delivery == Delivery::Sent => ("sent".into(), String::new()),
        Ok(receipt) => ("uncertain".into(), receipt.doubt.unwrap_or_default()),
        Err(err) => {
            let word = if err.failure.temporary { "temporary" } else { "permanent" };
            let smtp = err.failure.smtp.map(|code| format!(" {code}")).unwrap_or_default();
            (format!("{word}{smtp}"), err.reason)
        }
    }
}

/// What becomes of a message to a server that plays `script`, within the deadline and a second.
fn fate<F>(script: F) -> (String, String, Arc<Seen>)
where
    F: Fn(usize, TcpStream, &Seen) -> std::io::Result<()> + Send + Sync + 'static,
{
    let (address, seen) = server(script);
    let (clock, mut smtp) =
        (SystemClock::start(), smtp(&format!("smtp://{address}"), None, DEADLINE));
    let (word, reason) = carry(&mut smtp, 1);
    let took = clock.now().millis();
    assert!(took < 1_400, "{word} after {took} ms");
    (word, reason, seen)
}

/// As [`fate`], of a server that differs by what it answers.
fn answered(answer: fn(&str) -> Option<&'static str>) -> (String, String, Arc<Seen>) {
    fate(move |_, stream, seen| converse(stream, seen, &answer))
}

/// Closes a connection so that the other end is told of an error.
fn reset(stream: &TcpStream) {
    let at_once = Some(Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(stream, at_once).expect("a socket");
}

#[test]
fn a_message_arrives_as_it_was_written() {
    let (word, _, seen) = answered(|_| None);
    assert_eq!(word, "sent");
    let messages = seen.messages.lock().expect("whole");
    assert_eq!(*messages, ["Message-ID: <1>\r\n\r\n..048213\r\n.\r\n"]);
}

#[test]
fn nobody_there_is_temporary() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let (word, reason) = carry(&mut smtp(&format!("smtp://{address}"), None, DEADLINE), 1);
    assert_eq!(word, "temporary");
    assert!(reason.starts_with("connect: "), "{reason}");
    // A name that no resolver needs to ask anybody about.
    let (clock, name) = (SystemClock::start(), format!("{}.invalid", "x".repeat(64)));
    let fault = Resolver::default().look_up(&name, 25, &clock, clock.now() + AMPLE);
    let fault = fault.expect_err("no such name");
    assert!(fault.failure().temporary && fault.step == Step::LookUp, "{fault}");
}

#[test]
fn silence_and_dripping_end_with_the_deadline() {
    let (word, reason, _) = fate(|_, mut stream, _| stream.read(&mut [0]).map(|_| ()));
    assert_eq!((word.as_str(), reason.as_str()), ("temporary", "greeting: no answer in time"));
    let drip = |mut stream: TcpStream, text: &'static str| {
        for byte in text.bytes().cycle() {
            stream.write_all(&[byte])?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    };
    let (word, reason, _) = fate(move |_, stream, _| drip(stream, "220-hello\r\n"));
    assert_eq!((word.as_str(), reason.as_str()), ("temporary", "greeting: no answer in time"));
    let (word, reason, _) = fate(move |_, stream, seen| {
        let dripper = stream.try_clone()?;
        let is_dot = |word: &str| (word == ".").then_some("");
        converse(stream, seen, &is_dot)?;
        drip(dripper, "250-still thinking\r\n")
    });
    assert_eq!((word.as_str(), reason.as_str()), ("uncertain", "answer: no answer in time"));
}

#[test]
fn talk_without_end_is_cut_off() {
    for piece in ["250-x\r\n", "220-x\r\n", "x", "2", "220 xxxxxxxx"] {
        let (word, _, seen) = fate(move |_, mut stream, seen| {
            let block = piece.repeat(8_192);
            loop {
                let count = stream.write(block.as_bytes())?;
                seen.written.fetch_add(count, SeqCst);
            }
        });
        assert_eq!(word, "permanent", "{piece:?}");
        // A mebibyte is read; the rest lies in the buffers of the system.
        assert!(seen.written.load(SeqCst) < 16 << 20, "{}", seen.written.load(SeqCst));
    }
    let (word, ..) = answered(|word| {
        (word == "MAIL").then(|| {
            let lines: &'static str = "250-x\r\n".repeat(100_000).leak();
            &*format!("{lines}250 ok\r\n").leak()
        })
    });
    assert_eq!(word, "sent", "a hundred thousand lines are a reply, if they end");
}

#[test]
fn what_is_no_reply_is_permanent_and_nothing_panics() {
    for garbage in ["\0\0\0\0\r\n", "\u{1b}[2J\r\n", "two hundred\r\n", "\r\n", "220\u{e9}\r\n"] {
        let (word, reason, _) = fate(move |_, mut stream, _| {
            stream.write_all(garbage.as_bytes())?;
            stream.read(&mut [0]).map(|_| ())
        });
        assert_eq!(word, "permanent", "{garbage:?}");
        assert!(reason.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{reason}");
    }
}

#[test]
fn a_reset_is_tried_again_once_and_after_the_dot_not_at_all() {
    for step in ["EHLO", "MAIL", "RCPT", "DATA", "."] {
        let (word, _, seen) = fate(move |_, stream, seen| {
            let socket = stream.try_clone()?;
            let answer = |word: &str| {
                if word == step {
                    reset(&socket);
                }
                (word == step).then_some("")
            };
            converse(stream, seen, &answer)
        });
        let (expected, connections) = if step == "." { ("uncertain", 1) } else { ("temporary", 2) };
        assert_eq!((word.as_str(), seen.connections()), (expected, connections), "{step}");
    }
    let (word, _, seen) = fate(|_, stream, _| {
        reset(&stream);
        Ok(())
    });
    assert_eq!((word.as_str(), seen.connections()), ("temporary", 2));
}

#[test]
fn a_temporary_no_is_tried_once_more() {
    let (word, _, seen) = fate(|number, stream, seen| {
        let busy = |word: &str| (number == 1 && word == "EHLO").then_some("421 busy\r\n");
        converse(stream, seen, &busy)
    });
    assert_eq!((word.as_str(), seen.connections(), seen.messages()), ("sent", 2, 1));
    let (word, _, seen) = answered(|word| (word == "RCPT").then_some("451 later\r\n"));
    assert_eq!((word.as_str(), seen.messages()), ("temporary 451", 0));
    let (word, _, seen) = answered(|word| (word == ".").then_some("451 later\r\n"));
    assert_eq!((word.as_str(), seen.connections()), ("temporary 451", 1));
}

#[test]
fn a_message_that_was_accepted_is_sent_even_if_the_server_then_goes() {
    let (word, _, seen) = fate(|_, stream, seen| {
        let socket = stream.try_clone()?;
        let answer = |word: &str| (word == ".").then_some("250 queued\r\n");
        converse(stream, seen, &answer)?;
        socket.shutdown(std::net::Shutdown::Both)
    });
    assert_eq!((word.as_str(), seen.connections()), ("sent", 1));
}

#[test]
fn a_kept_connection_that_was_closed_costs_no_message_and_doubles_none() {
    for farewell in ["", "421 idle for too long\r\n"] {
        let (address, seen) = server(move |_, stream, seen| {
            let mut socket = stream.try_clone()?;
            let answer = |word: &str| {
                if word == "QUIT" { Some("") } else { None }
            };
            // After each message it says good-bye, or just goes.
            let one = |word: &str| {
                if word == "." {
                    let mut all = b"250 queued\r\n".to_vec();
                    all.extend_from_slice(farewell.as_bytes());
                    seen.messages.lock().expect("whole").push(String::new());
                    socket.try_clone().expect("a socket").write_all(&all).expect("taken");
                    return Some("");
                }
                answer(word)
            };
            let done = converse(stream, seen, &one);
            socket.flush()?;
            let _ = socket.shutdown(std::net::Shutdown::Both);
            done
        });
        let mut smtp = smtp(&format!("smtp://{address}"), None, AMPLE);
        for number in 1..=5 {
            assert_eq!(carry(&mut smtp, number).0, "sent", "{farewell:?} {number}");
        }
        assert_eq!((seen.connections(), seen.messages()), (5, 5), "{farewell:?}");
    }
}

#[test]
fn what_a_server_repeats_is_not_told() {
    let (word, reason, _) = answered(|word| {
        (word == ".").then_some("554 <u1@example.org> your code 048213 is spam\u{7}\r\n")
    });
    assert_eq!(word, "permanent 554");
    assert_eq!(reason, "answer: 554 … your code … is …");
}

#[test]
fn a_refused_password_is_not_tried_again() {
    let (address, seen) = server(|_, stream, seen| {
        converse(stream, seen, &|word| (word == "AUTH").then_some("535 no\r\n"))
    });
    let mut smtp = smtp(&format!("smtp://u:p@{address}"), None, DEADLINE);
    for number in 1..=3 {
        assert_eq!(carry(&mut smtp, number).0, "permanent 535");
        assert_eq!(seen.messages(), 0);
    }
    assert_eq!(seen.connections(), 1, "those that came later did not even try");
}

#[test]
fn many_messages_share_few_connections() {
    let (address, seen) = server(|_, stream, seen| converse(stream, seen, &|_| None));
    let smtp = smtp(&format!("smtp://{address}"), None, AMPLE);
    let one = || -> Box<dyn Transport + Send> { Box::new(smtp.clone()) };
    let clock = SystemClock::start();
    let mut post = Post::start((0..4).map(|_| one()).collect(), AMPLE).expect("threads");
    for number in 0..500 {
        post.send(message(number), clock.now()).expect("room");
    }
    let mut outcomes = 0;
    while outcomes < 500 {
        let mut fds = [rustix::event::PollFd::new(&post, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).expect("polled");
        while let Some((_, outcome)) = post.take(clock.now()) {
            assert_eq!(outcome.map(|receipt| receipt.delivery), Ok(Delivery::Sent));
            outcomes += 1;
        }
    }
    assert!(seen.connections() <= 4, "{}", seen.connections());
    let mut messages = seen.messages.lock().expect("whole").clone();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 500);
}

#[test]
fn one_after_the_other_needs_one_connection() {
    let (address, seen) = server(|_, stream, seen| converse(stream, seen, &|_| None));
    let smtp = smtp(&format!("smtp://{address}"), None, AMPLE);
    for number in 0..8 {
        assert_eq!(carry(&mut smtp.clone(), number).0, "sent");
    }
    assert_eq!(seen.connections(), 1);
}

/// An authority of our own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        Self { issuer }
    }

    /// A server's configuration, with a certificate for `name` until the year `until`.
    fn server(&self, name: &str, until: i32) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a configuration");
        Arc::new(config)
    }
}

fn over_tls(config: &Arc<ServerConfig>, stream: TcpStream) -> impl Line + use<> {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).expect("TLS"), stream)
}

#[test]
fn certificates_are_checked_and_nothing_is_said_to_whoever_has_no_good_one() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (authority, name, until, expected) in [
        (&ours, "127.0.0.1", 2099, "sent"),
        (&ours, "127.0.0.1", 2021, "permanent"),
        (&ours, "127.0.0.2", 2099, "permanent"),
        (&ours, "mail.example", 2099, "permanent"),
        (&theirs, "127.0.0.1", 2099, "permanent"),
    ] {
        let config = authority.server(name, until);
        let (address, seen) =
            server(move |_, stream, seen| converse(over_tls(&config, stream), seen, &|_| None));
        let url = format!("smtps://u:p@{address}");
        let (word, reason) = carry(&mut smtp(&url, Some(&ours), AMPLE), 1);
        assert_eq!(word, expected, "{name} {until}: {reason}");
        assert_eq!((seen.connections(), seen.messages()), (1, usize::from(word == "sent")));
    }
}

#[test]
fn starttls_goes_on_under_tls_or_not_at_all() {
    let authority = Authority::new();
    let config = authority.server("127.0.0.1", 2099);
    let (address, seen) = server(move |_, mut stream, seen| {
        stream.write_all(b"220 relay\r\n")?;
        let mut line = BufReader::new(stream.try_clone()?);
        let mut said = String::new();
        line.read_line(&mut said)?;
        stream.write_all(b"250-relay\r\n250 STARTTLS\r\n")?;
        line.read_line(&mut said)?;
        assert!(said.ends_with("\r\nSTARTTLS\r\n"));
        stream.write_all(b"220 go\r\n")?;
        // What is left of the conversation is the usual one, but for the greeting: the client
        // says hello first, and takes a greeting for the answer to it only if it is fooled.
        let mut tls = over_tls(&config, stream);
        let mut hello = [0; 64];
        let count = tls.read(&mut hello)?;
        assert!(hello[..count].starts_with(b"EHLO ["));
        tls.write_all(b"250 relay\r\n")?;
        for (said, reply) in [
            ("MAIL FROM:<", "250 ok"),
            ("RCPT TO:<", "250 ok"),
            ("DATA", "354 go"),
            ("Mess", "250 ok"),
        ] {
            let count = tls.read(&mut hello)?;
            assert!(hello[..count].starts_with(said.as_bytes()));
            if said == "Mess" {
                seen.messages.lock().expect("whole").push(String::new());
            }
            tls.write_all(format!("{reply}\r\n").as_bytes())?;
        }
        Ok(())
    });
    let url = format!("smtp://{address}?tls=required");
    let (word, reason) = carry(&mut smtp(&url, Some(&authority), AMPLE), 1);
    assert_eq!((word.as_str(), seen.messages()), ("sent", 1), "{reason}");

    // The usual server offers it and talks on in clear.
    let (address, seen) = server(|_, stream, seen| converse(stream, seen, &|_| None));
    let url = format!("smtp://{address}?tls=required");
    let (word, reason) = carry(&mut smtp(&url, None, DEADLINE), 1);
    assert_eq!((word.as_str(), seen.messages()), ("permanent 250", 0), "{reason}");
    // Only because it is on this machine, and nobody asked for more, is it spoken to like that.
    assert_eq!(carry(&mut smtp(&format!("smtp://{address}"), None, AMPLE), 1).0, "sent");
}

#[test]
fn handshakes_that_fail_are_faults_and_lost_ones_are_tried_again_once() {
    // Alerts: this version is not spoken (old TLS), good-bye, and nonsense; then an end.
    let old: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";
    let bye: &[u8] = b"\x15\x03\x03\x00\x02\x01\x00";
    let clear: &[u8] = b"220 relay\r\n";
    for (bytes, expected, connections) in [
        (old, "permanent", 1),
        (clear, "permanent", 1),
        (bye, "temporary", 2),
        (b"", "temporary", 2),
    ] {
        let (address, seen) = server(move |_, mut stream, _| {
            let _ = stream.read(&mut [0; 4_096])?;
            stream.write_all(bytes)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            stream.read_to_end(&mut Vec::new()).map(|_| ())
        });
        let (word, reason) = carry(&mut smtp(&format!("smtps://{address}"), None, AMPLE), 1);
        assert_eq!((word.as_str(), seen.connections()), (expected, connections), "{reason}");
    }
    let (address, _) = server(|_, mut stream, _| stream.read_to_end(&mut Vec::new()).map(|_| ()));
    let (word, reason) = carry(&mut smtp(&format!("smtps://{address}"), None, DEADLINE), 1);
    assert_eq!((word.as_str(), reason.as_str()), ("temporary", "TLS: no answer in time"));
}
