//! Conversations as scripts: what a server says, what it is told, what comes of it.

use std::collections::VecDeque;

use super::*;
use crate::mail::smtp::fault::Cause;

/// The end of a script, and of the connection.
const CLOSED: &str = "";
/// A server that keeps silent until the deadline.
const SILENT: &str = "silence";

/// Plays a server: each read gives what comes next, and what is said is written down.
#[derive(Default)]
struct Script {
    pieces: VecDeque<Vec<u8>>,
    said: String,
}

impl Wire for &mut Script {
    fn read(&mut self, bytes: &mut [u8], step: Step) -> Result<usize, Fault> {
        let piece = self.pieces.pop_front().expect("the script goes on");
        if piece == SILENT.as_bytes() {
            return Err(Fault { step, cause: Cause::Late });
        }
        bytes[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }

    fn write(&mut self, bytes: &[u8], _: Step) -> Result<(), Fault> {
        self.said.push_str(std::str::from_utf8(bytes).expect("text"));
        Ok(())
    }

    fn start_tls(&mut self) -> Result<String, Fault> {
        self.said.push_str("(TLS)\r\n");
        Ok("TLS".to_owned())
    }
}

fn script(pieces: &[&str]) -> Script {
    let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec());
    Script { pieces: pieces.collect(), said: String::new() }
}

const HELLO: [&str; 2] = ["220 hi\r\n", "250-relay\r\n250 PIPELINING\r\n"];
const PLAIN_HELLO: [&str; 2] = ["220 hi\r\n", "250 relay\r\n"];
const SAID_HELLO: &str = "EHLO me\r\n";
const SAID_ENVELOPE: &str = "MAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\n";
const SAID_MESSAGE: &str = "Subject: x\r\n\r\n..dot\r\n.\r\n";

fn message() -> Message {
    let bytes = b"Subject: x\r\n\r\n.dot\r\n".to_vec();
    Message::new("b@y.org", "token", bytes.into())
}

/// Sends one message: what came of it, whether the conversation may go on, what was said.
fn send(hello: &[&str], pieces: &[&str]) -> (String, bool, String) {
    let mut script = script(&[hello, pieces].concat());
    let (told, goes_on) = match Conversation::begin(&mut script) {
        Err(fault) => (outcome(Err(fault)), false),
        Ok((mut talk, _)) => {
            let sent = talk.hello("me").and_then(|_| talk.send("a@x.org", &message()));
            (outcome(sent), !talk.is_over())
        }
    };
    assert!(script.pieces.is_empty(), "not all was read: {told}");
    (told, goes_on, script.said.replacen(SAID_HELLO, "", 1))
}

/// An outcome in a word, as the caller is told.
fn outcome(sent: Result<(), Fault>) -> String {
    match sent {
        Ok(()) => "sent".to_owned(),
        Err(fault) if fault.is_doubtful() => "uncertain".to_owned(),
        Err(fault) => {
            let failure = fault.failure();
            let temporary = if failure.temporary { "temporary" } else { "permanent" };
            let smtp = failure.smtp.map(|code| format!(" {code}")).unwrap_or_default();
            let again = if fault.may_be_retried() { " again" } else { "" };
            format!("{temporary}{smtp}{again}")
        }
    }
}

#[test]
fn a_message_is_handed_over_at_one_go_where_that_is_offered() {
    let answers = "250 ok\r\n250 ok\r\n354 go\r\n";
    let said = format!("{SAID_ENVELOPE}{SAID_MESSAGE}");
    let sent = send(&HELLO, &[answers, "250 queued\r\n"]);
    assert_eq!(sent, ("sent".into(), true, said.clone()));
    // However its answers are cut.
    let cut = ["250 o", "k\r", "\n25", "1 ok\r\n354\r\n", "2", "50-a\r\n", "250 b\r\n"];
    assert_eq!(send(&HELLO, &cut), ("sent".into(), true, said.clone()));
    let one_by_one = ["250 ok\r\n", "252 ok\r\n", "354 go\r\n", "200\r\n"];
    assert_eq!(send(&PLAIN_HELLO, &one_by_one), ("sent".into(), true, said));
}

#[test]
fn only_the_right_number_is_the_right_answer() {
    let before = ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
    let told = ["permanent 354", "temporary 451", "permanent 550", "permanent 221"];
    for step in 0..3 {
        for (answer, told) in ["354 x\r\n", "451 x\r\n", "550 x\r\n", "221 x\r\n"].iter().zip(told)
        {
            let accepted = matches!((step, told), (2, "permanent 354") | (0 | 1, "permanent 221"));
            if accepted {
                continue;
            }
            let pieces = [&before[..step], &[answer]].concat();
            let (outcome, goes_on, said) = send(&PLAIN_HELLO, &pieces);
            assert_eq!(outcome.trim_end_matches(" again"), told, "{step} {answer}");
            assert_eq!(outcome.ends_with(" again"), told == "temporary 451");
            assert_eq!(goes_on, answer.starts_with(['4', '5']), "{step} {answer}");
            assert!(!said.contains("Subject"));
        }
    }
    // After the final dot nothing is tried again.
    for (answer, told) in [("354 x\r\n", told[0]), ("451 x\r\n", told[1]), ("550 x\r\n", told[2])] {
        let (outcome, ..) = send(&PLAIN_HELLO, &[&before[..], &[answer]].concat());
        assert_eq!(outcome, told);
    }
}

#[test]
fn no_answer_that_can_be_read_leaves_a_message_uncertain_only_after_the_final_dot() {
    let before = ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
    for (answer, told) in [
        (&["25", CLOSED][..], "temporary again"),
        (&[CLOSED], "temporary again"),
        (&[SILENT], "temporary"),
        (&["250-more\r\n", SILENT], "temporary"),
        (&["hello\r\n"], "permanent"),
        (&["\0\0\0"], "permanent"),
        (&["\u{e9}"], "permanent"),
        (&["999 x\r\n"], "permanent"),
        (&["250-a\r\n550 b\r\n"], "permanent"),
    ] {
        for step in 0..3 {
            let pieces = [&before[..step], answer].concat();
            let (outcome, goes_on, _) = send(&PLAIN_HELLO, &pieces);
            assert_eq!((outcome.as_str(), goes_on), (told, false), "{step} {answer:?}");
        }
        let (outcome, goes_on, _) = send(&PLAIN_HELLO, &[&before[..], answer].concat());
        assert_eq!((outcome.as_str(), goes_on), ("uncertain", false), "{answer:?}");
    }
}

#[test]
fn a_refused_recipient_gets_no_message_whatever_is_said_to_data() {
    let refused = "250 ok\r\n550 5.1.1 nobody\r\n503 no\r\n";
    let (outcome, goes_on, said) = send(&HELLO, &[refused]);
    assert_eq!((outcome.as_str(), goes_on, said.as_str()), ("permanent 550", true, SAID_ENVELOPE));
    let (outcome, goes_on, said) = send(&HELLO, &["250 ok\r\n450 later\r\n354 go\r\n"]);
    assert_eq!(
        (outcome.as_str(), goes_on, said.as_str()),
        ("temporary 450 again", false, SAID_ENVELOPE)
    );
}

#[test]
fn what_was_not_asked_for_is_not_believed() {
    // An answer too many after the greeting would shift all that follow by one.
    let (outcome, goes_on, said) = send(&["220 hi\r\n250 relay\r\n"], &[]);
    assert_eq!((outcome.as_str(), goes_on, said.as_str()), ("permanent", false, ""));
    let early = "250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n";
    let (outcome, goes_on, said) = send(&HELLO, &[early]);
    assert_eq!((outcome.as_str(), goes_on, said.as_str()), ("permanent", false, SAID_ENVELOPE));
    // A conversation that ends with something unread is not kept.
    let late = ["250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n421 bye\r\n"];
    let (outcome, goes_on, _) = send(&HELLO, &late);
    assert_eq!((outcome.as_str(), goes_on), ("sent", false));
}

#[test]
fn a_message_whose_leave_was_withdrawn_stays_here() {
    let mut script = script(&[&HELLO[..], &["250\r\n250\r\n354\r\n"]].concat());
    let (mut talk, _) = Conversation::begin(&mut script).expect("a greeting");
    talk.hello("me").expect("a hello");
    let message = message();
    assert!(message.leave.withdraw());
    assert_eq!(outcome(talk.send("a@x.org", &message)), "temporary again");
    assert!(talk.is_over());
    assert_eq!(script.said, format!("{SAID_HELLO}{SAID_ENVELOPE}"));
}

#[test]
fn greetings_other_than_220_are_refusals() {
    for (greeting, told) in [
        ("554 go away\r\n", "permanent 554"),
        ("421 busy\r\n", "temporary 421 again"),
        ("250 hi\r\n", "permanent 250"),
        ("HTTP/1.1 400 Bad Request\r\n", "permanent"),
        (CLOSED, "temporary again"),
    ] {
        assert_eq!(send(&[greeting], &[]).0, told);
    }
}

#[test]
fn a_server_that_knows_no_ehlo_is_said_helo_to() {
    let hello = ["220 hi\r\n", "500 what?\r\n", "250 relay\r\n"];
    let (outcome, _, said) = send(&hello, &["250\r\n", "250\r\n", "354\r\n", "250\r\n"]);
    assert_eq!(outcome, "sent");
    assert!(said.starts_with("HELO me\r\nMAIL"));
}

/// What comes of STARTTLS, and what was said.
fn start_tls(pieces: &[&str]) -> (String, String) {
    let mut script = script(pieces);
    let (mut talk, _) = Conversation::begin(&mut script).expect("a greeting");
    talk.hello("me").expect("a hello");
    let done = talk.start_tls().and_then(|_| talk.hello("me")).map(|_| ());
    (outcome(done), script.said)
}

#[test]
fn nothing_is_said_in_clear_where_tls_is_demanded_and_nothing_believed_that_was() {
    let hello = ["220 hi\r\n", "250-relay\r\n250 STARTTLS\r\n"];
    let done = start_tls(&[&hello[..], &["220 go\r\n", "250 relay\r\n"]].concat());
    assert_eq!(done, ("sent".into(), "EHLO me\r\nSTARTTLS\r\n(TLS)\r\nEHLO me\r\n".into()));
    let said = "EHLO me\r\nSTARTTLS\r\n";
    for (answer, told) in [
        ("220 go\r\n250 forged\r\n", "permanent"),
        ("220 go\r\n2", "permanent"),
        ("454 later\r\n", "temporary 454 again"),
        ("502 no\r\n", "permanent 502"),
        ("250 ok\r\n", "permanent 250"),
    ] {
        let done = start_tls(&[&hello[..], &[answer]].concat());
        assert_eq!(done, (told.into(), said.into()), "{answer}");
    }
    assert_eq!(start_tls(&PLAIN_HELLO), ("permanent".into(), SAID_HELLO.into()));
}

/// What comes of a log-in, why, and what was said after the hello.
fn log_in(offer: &str, pieces: &[&str]) -> (String, String, String) {
    let hello = format!("250-relay\r\n250 {offer}\r\n");
    let mut script = script(&[&["220 hi\r\n", &hello], pieces].concat());
    let (mut talk, _) = Conversation::begin(&mut script).expect("a greeting");
    talk.hello("me").expect("a hello");
    let done = talk.log_in("ann", "secret");
    let why = done.as_ref().map_or_else(ToString::to_string, Reply::words);
    (outcome(done.map(|_| ())), why, script.said.replacen(SAID_HELLO, "", 1))
}

#[test]
fn log_ins_are_those_that_the_server_offers() {
    let plain = "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n";
    let (outcome, _, said) = log_in("AUTH LOGIN PLAIN", &["235 ok\r\n"]);
    assert_eq!((outcome.as_str(), said.as_str()), ("sent", plain));
    let (outcome, _, said) = log_in("auth=login", &["334 u\r\n", "334 p\r\n", "235 ok\r\n"]);
    assert_eq!((outcome.as_str(), said.as_str()), ("sent", "AUTH LOGIN\r\nYW5u\r\nc2VjcmV0\r\n"));
    let (outcome, why, said) = log_in("AUTH CRAM-MD5 XOAUTH2", &[]);
    assert_eq!((outcome.as_str(), said.as_str()), ("permanent", ""));
    assert!(why.contains("no log-in that otpd knows"));
}

#[test]
fn log_ins_are_refused_by_whatever_is_not_235() {
    assert_eq!(log_in("AUTH PLAIN", &["535 5.7.8 wrong\r\n"]).0, "permanent 535");
    for (offer, pieces) in [
        ("AUTH PLAIN", &["334 more\r\n"][..]),
        ("AUTH LOGIN", &["334 u\r\n", "334 p\r\n", "334 more\r\n"]),
    ] {
        assert_eq!(log_in(offer, pieces).0, "permanent 334");
    }
    assert_eq!(log_in("AUTH PLAIN", &["454 later\r\n"]).0, "temporary 454 again");
}
