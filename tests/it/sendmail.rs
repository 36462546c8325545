//! Mail that takes its time: a program in place of `sendmail` that does what a test tells it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Binary, code_in, field};
use crate::talk::Talk;

/// A daemon whose mail goes to a script.
fn talk(script: &str, args: &[&str]) -> Talk {
    let binary = Binary::new();
    let program = binary.dir.path().join("sendmail");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut command =
        binary.command(&["serve", "--sendmail", "./sendmail", "--from", "otpd@acme.example"]);
    command.args(args).stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let talk = Talk::with(command.spawn().expect("otpd starts"));
    Talk { binary: Some(binary), ..talk }
}

/// A gate before which scripts wait: `read _ <gate`. Opening it lets all through that wait.
fn gate(talk: &Talk) -> std::path::PathBuf {
    let gate = dir(talk).join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
    gate
}

/// Lets `count` scripts through, for as long as what is given back is kept.
fn open(gate: &Path, count: usize) -> fs::File {
    let mut open = fs::OpenOptions::new().read(true).write(true).open(gate).expect("a gate");
    std::io::Write::write_all(&mut open, "go\n".repeat(count).as_bytes()).expect("taken");
    open
}

fn dir(talk: &Talk) -> &Path {
    talk.binary.as_ref().expect("its own").dir.path()
}

#[test]
fn the_program_is_given_the_message_and_the_code_in_it_is_right() {
    let mut talk = talk("printf '%s\\n' \"$@\" >args; env >env; cat >mail", &[]);
    let issued = talk.ask(r#"{"cmd":"issue","to":"Ann@example.org"}"#);
    assert_eq!(field(&issued, "via"), "sendmail");
    assert_eq!(
        (field(&issued, "delivery"), field(&issued, "file")),
        ("sent".into(), "null".into())
    );
    let read = |name| fs::read_to_string(dir(&talk).join(name)).expect(name);
    assert_eq!(read("args"), "-i\n-f\notpd@acme.example\n--\nAnn@example.org\n");
    assert!(!read("env").contains("OTPD_"));
    let message = read("mail");
    assert!(message.starts_with("From: otpd <otpd@acme.example>\nTo: Ann@example.org\n"));
    assert!(!message.contains('\r'));
    let (session, code) = (field(&issued, "session"), code_in(&message));
    let verified =
        talk.ask(&format!(r#"{{"cmd":"verify","session":"{session}","code":"{code}"}}"#));
    assert_eq!(field(&verified, "ok"), "true");
}

#[test]
fn its_exit_status_is_the_answer() {
    for (script, error, temporary) in [
        ("exit 0", "null", "null"),
        ("cat >/dev/null; exit 75", "delivery_failed", "true"),
        ("cat >/dev/null; exit 67", "delivery_failed", "false"),
        ("cat >/dev/null; exit 1", "delivery_failed", "false"),
        ("kill -9 $$", "delivery_failed", "false"),
    ] {
        let mut talk = talk(script, &["--log", "off"]);
        let reply = talk.ask(r#"{"cmd":"issue","to":"ann@example.org","client":"c"}"#);
        assert_eq!(
            (field(&reply, "error").as_str(), field(&reply, "temporary").as_str()),
            (error, temporary)
        );
        let status = talk.ask(r#"{"cmd":"status"}"#);
        let live = if error == "null" { "\"live\":1," } else { "\"live\":0," };
        assert!(status.contains(live), "{script}: {status}");
        // What it cost was given back, or it was sent.
        let again = talk.ask(r#"{"cmd":"issue","to":"ann@example.org"}"#);
        let expected = if error == "null" { "rate_limited" } else { error };
        assert_eq!(field(&again, "error"), expected, "{script}");
    }
}

#[test]
fn a_parent_that_ignores_its_children_changes_no_answer() {
    let binary = Binary::new();
    let program = binary.command(&[]).get_program().to_owned();
    for (sendmail, word) in
        [("/bin/true", "\"delivery\":\"sent\""), ("/bin/false", "\"temporary\":false")]
    {
        let script = format!(
            "trap '' CHLD; echo '{{\"cmd\":\"issue\",\"to\":\"a@x.org\"}}' >in; \
             exec \"$0\" serve --sendmail {sendmail} --from a@x.org <in"
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(&program).current_dir(binary.dir.path());
        let output = shell.output().expect("a shell");
        assert!(String::from_utf8_lossy(&output.stdout).contains(word), "{output:?}");
    }
}

#[test]
fn lines_that_waited_are_answered_within_the_bound_of_replies() {
    let mut talk = talk("cat >/dev/null; read _ <gate; exit 0", &[]);
    let gate = gate(&talk);
    talk.send("{\"cmd\":\"issue\",\"to\":\"a@example.org\"}\n");
    talk.send(&"{\"cmd\":\"help\"}\n".repeat(30_000));
    let _open = open(&gate, 1);
    assert_eq!(field(&talk.hear(), "delivery"), "sent");
    let first = talk.hear();
    for _ in 1..30_000 {
        assert_eq!(talk.hear(), first);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", talk.child.id())).expect("it lives");
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).expect("a figure");
    let kib: u64 = peak.split_whitespace().nth(1).expect("a figure").parse().expect("a number");
    assert!(kib < 90 << 10, "{kib} KiB");
}

#[test]
fn nobody_waits_for_a_mail_but_those_who_have_no_id() {
    let mut talk = talk("cat >/dev/null; read _ <gate", &[]);
    let gate = gate(&talk);
    talk.send("{\"cmd\":\"issue\",\"to\":\"a@example.org\"}\n");
    talk.send("{\"cmd\":\"cancel\",\"session\":\"x\"}\nnonsense\n");
    for number in 1..=4 {
        talk.send(&format!(
            "{{\"cmd\":\"issue\",\"to\":\"b{number}@example.org\",\"id\":{number}}}\n"
        ));
    }
    talk.send("{\"cmd\":\"cancel\",\"session\":\"x\",\"id\":\"now\"}\n");
    assert!(talk.hear().starts_with("{\"ok\":false,\"id\":\"now\",\"error\":\"no_session\""));
    let status = talk.ask(r#"{"cmd":"status","id":"mail"}"#);
    let mail = status.split("\"mail\":").nth(1).expect("mail");
    let under_way: u32 = mail
        .bytes()
        .take_while(|b| *b != b'}')
        .filter(u8::is_ascii_digit)
        .map(|b| u32::from(b - b'0'))
        .sum();
    assert_eq!(under_way, 5, "{status}");
    let _open = open(&gate, 5);
    let replies: Vec<String> = (0..7).map(|_| talk.hear()).collect();
    let untagged: Vec<String> = replies
        .iter()
        .filter(|reply| !reply.contains("\"id\":"))
        .map(|reply| field(reply, "error"))
        .collect();
    assert_eq!(untagged, ["null", "no_session", "bad_json"]);
    assert!(replies.iter().any(|reply| reply.contains("\"line\":3}")));
    let mut tagged: Vec<String> = replies
        .iter()
        .filter(|reply| reply.contains("\"delivery\":\"sent\""))
        .map(|r| field(r, "id"))
        .collect();
    tagged.sort();
    assert_eq!(tagged, ["1", "2", "3", "4", "null"]);
    assert_eq!(talk.end().1.code(), Some(0));
}

#[test]
fn the_end_of_input_waits_for_mail_that_is_under_way() {
    let mut talk = talk("cat >/dev/null; read _ <gate", &[]);
    let gate = gate(&talk);
    talk.send(
        "{\"cmd\":\"issue\",\"to\":\"a@example.org\"}\n{\"cmd\":\"cancel\",\"session\":\"x\"}\n",
    );
    drop(talk.stdin.take());
    let _open = open(&gate, 1);
    let (rest, status, _) = talk.end();
    let words: Vec<String> = rest.lines().map(|line| field(line, "error")).collect();
    assert_eq!((words, status.code()), (vec!["null".into(), "no_session".into()], Some(0)));
}

#[test]
fn a_program_that_does_not_end_in_time_is_ended_and_its_mail_is_uncertain() {
    let mut talk = talk("cat >mail; echo $$ >pid; exec sleep 1000", &["--delivery-timeout", "3"]);
    let reply = talk.ask(r#"{"cmd":"issue","to":"a@example.org"}"#);
    assert_eq!(field(&reply, "delivery"), "uncertain");
    let pid = fs::read_to_string(dir(&talk).join("pid")).expect("a pid");
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "it lives");
    let code = code_in(&fs::read_to_string(dir(&talk).join("mail")).expect("a message"));
    let session = field(&reply, "session");
    let verified =
        talk.ask(&format!(r#"{{"cmd":"verify","session":"{session}","code":"{code}"}}"#));
    assert_eq!(field(&verified, "ok"), "true", "it may have arrived");
}

#[test]
fn a_signal_waits_a_while_and_then_says_what_is_known() {
    let mut talk = talk("cat >/dev/null; echo >>begun; exec sleep 1000", &[]);
    for number in 1..=4 {
        talk.send(&format!(
            "{{\"cmd\":\"issue\",\"to\":\"u{number}@example.org\",\"id\":{number}}}\n"
        ));
    }
    let begun = || fs::read(dir(&talk).join("begun")).map_or(0, |lines| lines.len());
    while begun() < 4 {
        std::thread::yield_now();
    }
    // All four that can be carried at a time have begun: these wait, one in the queue for a
    // program, one behind it for its reply.
    talk.send(
        "{\"cmd\":\"issue\",\"to\":\"a@example.org\"}\n{\"cmd\":\"cancel\",\"session\":\"x\"}\n",
    );
    talk.send("{\"cmd\":\"issue\",\"to\":\"b@example.org\",\"id\":5}\n");
    assert!(
        talk.ask(r#"{"cmd":"status","id":"s"}"#)
            .contains("\"mail\":{\"queued\":2,\"in_flight\":4}")
    );
    talk.signal(Signal::TERM);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut talk.stdout, &mut rest).expect("text");
    let told = |line: &str| {
        let what = if line.contains("\"ok\":true") { "delivery" } else { "error" };
        (field(line, "id"), field(line, what))
    };
    let mut replies: Vec<(String, String)> = rest.lines().map(told).collect();
    replies.sort();
    let expected = [
        ("1", "uncertain"),
        ("2", "uncertain"),
        ("3", "uncertain"),
        ("4", "uncertain"),
        ("5", "shutting_down"),
        ("null", "shutting_down"),
        ("null", "shutting_down"),
    ];
    assert_eq!(replies, expected.map(|(id, word)| (id.to_owned(), word.to_owned())));
    assert_eq!(talk.end().1.code(), Some(0));
}

#[test]
fn what_can_not_work_is_refused_at_the_start() {
    let binary = Binary::new();
    for args in [
        &["--sendmail", "/nowhere", "--from", "a@x.org"][..],
        &["--sendmail", "/bin/true"],
        &["--sendmail", "/bin", "--from", "a@x.org"],
        &["--sendmail", "true", "--from", "a@x.org"],
        &["--sendmail", "/bin/true", "--from", "a@x.org", "--outbox", "o"],
        &["--sendmail", "/bin/true", "--from", "a@x.org", "--simulate", "1"],
        &["--sendmail", "/bin/true", "--from", "a@x.org", "--delivery-timeout", "2"],
        &["--sendmail", "/bin/true", "--from", "a@x.org", "--delivery-timeout", "301"],
    ] {
        binary.assert(&["serve"]).args(args).assert().code(2).stdout("");
    }
}
