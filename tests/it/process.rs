//! The process: pipes, ends, signals, limits. Against the real binary and the real clock.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use predicates::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;
use rustix::process::Signal;

use crate::harness::{Binary, code_in, field, mails, other_code};
use crate::talk::{Reaped, Talk};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

fn high_water_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it lives");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a figure");
    line.split_whitespace().nth(1).expect("a figure").parse().expect("a number")
}

#[test]
fn a_conversation_goes_line_by_line() {
    let binary = Binary::new();
    let mut talk = Talk::with(binary.serve(&[]));
    let issued = talk.ask(r#"{"cmd":"issue","to":"ann@example.org","id":1}"#);
    let session = field(&issued, "session");
    let file = field(&issued, "file");
    assert!(session.len() >= 22 && session.bytes().all(|b| b.is_ascii_alphanumeric()));
    let message = fs::read_to_string(binary.dir.path().join(&file)).expect("a message");
    let code = code_in(&message);
    assert!(!file.contains(&code) && !file.contains("ann") && !issued.contains(&code));
    let verify =
        |code: &str| format!(r#"{{"cmd":"verify","session":"{session}","code":"{code}"}}"#);
    assert_eq!(field(&talk.ask(&verify(&other_code(&code, 1))), "error"), "wrong_code");
    assert_eq!(field(&talk.ask(&verify(&code)), "ok"), "true");
    assert_eq!(field(&talk.ask(&verify(&code)), "error"), "already_used");
    assert_eq!(field(&talk.ask(r#"{"cmd":"advance","seconds":1}"#), "error"), "unknown_command");
    let (rest, status, _) = talk.end();
    assert_eq!((rest.as_str(), status.code()), ("", Some(0)));
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let mut talk = Talk::new(&[]);
    for byte in "\u{feff}{\"cmd\":\"cancel\",\"session\":\"é\"}\r\n".as_bytes() {
        talk.stdin.as_mut().expect("open").write_all(&[*byte]).expect("taken");
    }
    assert_eq!(field(&talk.hear(), "error"), "no_session");
}

#[test]
fn the_end_of_input_is_the_end_and_a_last_line_needs_no_lf() {
    let serve = |input: &str| {
        let binary = Binary::new();
        let output =
            binary.assert(&["serve", "--outbox", "outbox"]).write_stdin(input).assert().success();
        String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8")
    };
    assert_eq!(serve(""), "");
    assert_eq!(serve("\n \n"), "");
    assert_eq!(field(&serve(r#"{"cmd":"cancel","session":"x"}"#), "error"), "no_session");
    assert_eq!(field(&serve(r#"{"cmd":"cancel","sess"#), "error"), "bad_json");
}

#[test]
fn whoever_writes_everything_before_reading_anything_is_served() {
    let mut talk = Talk::new(&[]);
    let mut input = String::new();
    for number in 0..200_000 {
        input.push_str(&format!("{{\"cmd\":\"cancel\",\"session\":\"x\",\"id\":{number}}}\n"));
    }
    talk.send(&input);
    for number in 0..200_000 {
        assert!(talk.hear().starts_with(&format!("{{\"ok\":false,\"id\":{number},")));
    }
    assert_eq!(talk.end().1.code(), Some(0));
}

#[test]
fn a_parent_that_never_reads_costs_64_mib_and_loses_nothing() {
    let mut talk = Talk::new(&[]);
    let input = "{\"cmd\":\"help\"}\n".repeat(40_000);
    let mut rest = input.as_bytes();
    let stdin = talk.stdin.take().expect("a pipe");
    rustix::io::ioctl_fionbio(&stdin, true).expect("non-blocking");
    // Writes until nothing was taken for two seconds: the daemon has stopped reading.
    let patience = Timespec { tv_sec: 2, tv_nsec: 0 };
    let mut fds = [PollFd::new(&stdin, PollFlags::OUT)];
    while !rest.is_empty() && poll(&mut fds, Some(&patience)).expect("polled") > 0 {
        rest = &rest[rustix::io::write(&stdin, rest).expect("taken")..];
    }
    assert!(!rest.is_empty(), "it went on reading");
    let kib = high_water_kib(&talk.child);
    assert!((60 << 10..80 << 10).contains(&kib), "{kib} KiB");
    rustix::io::ioctl_fionbio(&stdin, false).expect("blocking");
    talk.stdin = Some(stdin);
    let rest = rest.to_vec();
    let mut writer = talk.stdin.take().expect("open");
    let writing = std::thread::spawn(move || writer.write_all(&rest).expect("taken"));
    let first = talk.hear();
    for _ in 1..40_000 {
        assert_eq!(talk.hear(), first);
    }
    writing.join().expect("written");
    assert_eq!(talk.end().1.code(), Some(0));
}

#[test]
fn an_endless_line_is_one_reply_in_flat_memory() {
    let mut talk = Talk::new(&[]);
    talk.ask(r#"{"cmd":"status"}"#);
    let before = high_water_kib(&talk.child);
    talk.send("{\"id\":7,\"cmd\":\"");
    let block = "x".repeat(1 << 20);
    for _ in 0..256 {
        talk.send(&block);
    }
    talk.send("\"}\n");
    let reply = talk.hear();
    assert!(reply.starts_with("{\"ok\":false,\"id\":7,\"error\":\"line_too_long\","), "{reply}");
    assert_eq!(field(&talk.ask(r#"{"cmd":"cancel","session":"x"}"#), "error"), "no_session");
    let grown = high_water_kib(&talk.child) - before;
    assert!(grown < 2_048, "{grown} KiB more");
}

#[test]
fn a_signal_lets_what_was_read_be_answered() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut talk = Talk::new(&[]);
        // One write, so one read: the reply to the first line shows that the rest was read too.
        talk.send(
            "{\"cmd\":\"cancel\",\"session\":\"x\"}\n{\"cmd\":\"issue\",\"id\":5,\"to\":\"a@x.o",
        );
        assert_eq!(field(&talk.hear(), "error"), "no_session");
        talk.signal(signal);
        let mut rest = String::new();
        talk.stdout.read_to_string(&mut rest).expect("text");
        assert!(rest.starts_with("{\"ok\":false,\"id\":5,\"error\":\"shutting_down\","), "{rest}");
        assert_eq!((rest.lines().count(), talk.end().1.code()), (1, Some(0)));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut talk = Talk::new(&[]);
    // More replies than a pipe holds, and nobody reads them.
    talk.send(&"{\"cmd\":\"help\"}\n".repeat(100));
    let mut fds = [PollFd::new(talk.stdout.get_ref(), PollFlags::IN)];
    poll(&mut fds, None).expect("polled");
    talk.signal(Signal::TERM);
    talk.signal(Signal::INT);
    let status = talk.child.wait().expect("it ends");
    assert!(matches!(status.code(), Some(130 | 143)), "{status}");
}

/// Runs the binary through a shell, which can do to descriptors what `Command` can't.
fn shell(binary: &Binary, script: &str) -> std::process::Output {
    let mut command = binary.command(&[]);
    let program = command.get_program().to_owned();
    command = Command::new("sh");
    command.args(["-c", script]).arg(program).current_dir(binary.dir.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a shell");
    // The daemon may have ended before it reads; that is what some of these tests are about.
    let _ = child.stdin.take().expect("a pipe").write_all(b"{\"cmd\":\"status\"}\n");
    child.wait_with_output().expect("it ends")
}

#[test]
fn descriptors_that_are_closed_or_broken_have_their_exit_status() {
    for (script, status, complains) in [
        ("exec \"$0\" serve --outbox o", 0, false),
        ("exec \"$0\" serve --outbox o <&-", 0, false),
        ("exec \"$0\" serve --outbox o >&-", 1, true),
        ("exec \"$0\" serve --outbox o >/dev/full", 1, true),
        ("exec \"$0\" serve --outbox o >/dev/null", 0, false),
        ("exec \"$0\" serve --outbox o 2>&-", 0, false),
        ("exec \"$0\" serve --outbox o <&- >&- 2>&-", 1, false),
        ("exec \"$0\" serve --outbox o </", 1, true),
        ("ulimit -f 0; exec \"$0\" serve --outbox o >out", 1, true),
    ] {
        let output = shell(&Binary::new(), script);
        let log = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(status), "{script}: {log}");
        assert_eq!(log.lines().count(), usize::from(complains), "{script}: {log}");
    }
}

#[test]
fn a_reader_that_goes_away_is_the_end() {
    let mut talk = Talk::new(&[]);
    talk.ask(r#"{"cmd":"status"}"#);
    let Talk { mut child, stdin, stdout, binary: _binary } = talk;
    drop(stdout);
    let mut log = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut log).expect("text");
    assert_eq!((child.wait().expect("it ends").code(), log.lines().count()), (Some(1), 1), "{log}");
    drop(stdin);
}

#[test]
fn a_parent_that_is_done_may_close_its_ends_in_any_order() {
    for _ in 0..10 {
        let mut talk = Talk::new(&[]);
        talk.ask(r#"{"cmd":"status"}"#);
        let Talk { mut child, stdin, stdout, binary: _binary } = talk;
        drop(stdout);
        drop(stdin);
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn descriptors_may_be_non_blocking() {
    let binary = Binary::new();
    let flags = PipeFlags::NONBLOCK | PipeFlags::CLOEXEC;
    let (input, commands) = rustix::pipe::pipe_with(flags).expect("a pipe");
    let (replies, output) = rustix::pipe::pipe_with(flags).expect("a pipe");
    let mut command = binary.command(&["serve", "--outbox", "outbox"]);
    let child = command.stdin(input).stdout(output).spawn().expect("otpd starts");
    let mut child = Reaped(child);
    drop(command);
    let all = "{\"cmd\":\"help\"}\n".repeat(500);
    let writing = std::thread::spawn(move || write_all(&commands, all.as_bytes()));
    let read = read_all(&replies);
    writing.join().expect("written");
    assert_eq!(read.iter().filter(|b| **b == b'\n').count(), 500);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        poll(&mut [PollFd::new(fd, PollFlags::OUT)], None).expect("polled");
        bytes = &bytes[rustix::io::write(fd, bytes).unwrap_or(0)..];
    }
}

fn read_all(fd: &OwnedFd) -> Vec<u8> {
    let (mut all, mut block) = (Vec::new(), vec![0; 65_536]);
    loop {
        poll(&mut [PollFd::new(fd, PollFlags::IN)], None).expect("polled");
        match rustix::io::read(fd, &mut block[..]) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&block[..count]),
            Err(rustix::io::Errno::AGAIN) => {}
            Err(err) => panic!("{err}"),
        }
    }
}

#[test]
fn a_crash_leaves_no_core() {
    let mut talk = Talk::new(&[]);
    talk.ask(r#"{"cmd":"status"}"#);
    let limits = fs::read_to_string(format!("/proc/{}/limits", talk.child.id())).expect("it lives");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    talk.signal(Signal::ABORT);
    let status = talk.child.wait().expect("it ends");
    assert!(status.signal().is_some() && !status.core_dumped(), "{status}");
}

/// As another user if these tests are run by root, who may read everything.
#[test]
fn nobody_of_the_same_user_reads_its_memory() {
    let binary = Binary::new();
    let program = binary.dir.path().join("otpd");
    fs::copy(binary.command(&[]).get_program(), &program).expect("copied");
    fs::set_permissions(binary.dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let root = rustix::process::geteuid().is_root();
    if root {
        chown(binary.dir.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    let as_nobody = |command: &mut Command| {
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(binary.dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().expect("it starts")
    };
    let can_read = |child: &Child| {
        let script = format!("exec 3</proc/{}/mem", child.id());
        let mut attempt = Command::new("sh");
        attempt.args(["-c", &script]).stderr(Stdio::null());
        as_nobody(&mut attempt).wait().expect("it ends").success()
    };
    let mut talk = Talk::with(as_nobody(Command::new(&program).args(["serve", "--outbox", "o"])));
    talk.ask(r#"{"cmd":"status"}"#);
    let mut control = Talk::with(as_nobody(&mut Command::new("cat")));
    control.ask("ready");
    assert!(can_read(&control.child), "this check could not fail");
    assert!(!can_read(&talk.child));
}

#[test]
fn files_are_for_their_owner_whatever_the_mask() {
    for mask in ["000", "077", "777"] {
        let binary = Binary::new();
        let script = format!(
            "umask {mask}; echo '{{\"cmd\":\"issue\",\"to\":\"a@x.org\"}}' | \"$0\" serve --outbox o"
        );
        let output = shell(&binary, &script);
        assert!(output.status.success(), "{mask}: {output:?}");
        let mode =
            |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        let outbox = binary.dir.path().join("o");
        assert_eq!((mode(&outbox), mode(&mails(&outbox)[0])), (0o700, 0o600), "{mask}");
    }
}

#[test]
fn two_daemons_share_an_outbox() {
    let binary = Binary::new();
    let mut talks: Vec<Talk> = (0..2).map(|_| Talk::with(binary.serve(&[]))).collect();
    for number in 0..100 {
        for talk in &mut talks {
            talk.send(&format!("{{\"cmd\":\"issue\",\"to\":\"u{number}@example.org\"}}\n"));
        }
    }
    for talk in talks {
        let (replies, status, _) = talk.end();
        assert_eq!((replies.matches("\"ok\":true").count(), status.code()), (100, Some(0)));
    }
    assert_eq!(mails(&binary.outbox()).len(), 200);
    let all = fs::read_dir(binary.outbox()).expect("an outbox").count();
    assert_eq!(all, 200, "something was left behind");
}

#[test]
fn a_simulated_world_is_the_same_to_the_byte_and_says_so() {
    let run = |binary: &Binary| {
        let input = "{\"cmd\":\"issue\",\"to\":\"a@x.org\"}\n{\"cmd\":\"advance\",\"seconds\":61}\n\
                     {\"cmd\":\"issue\",\"to\":\"a@x.org\"}\n{\"cmd\":\"status\"}\n";
        let args = ["serve", "--outbox", "outbox", "--simulate", "18446744073709551615"];
        let simulated = predicate::str::contains("simulated");
        let output = binary.assert(&args).write_stdin(input).assert().success().stderr(simulated);
        let files: Vec<_> =
            mails(&binary.outbox()).iter().map(|file| fs::read(file).expect("a message")).collect();
        (output.get_output().stdout.clone(), files)
    };
    let (one, other) = (Binary::new(), Binary::new());
    let first = run(&one);
    assert_eq!(first.1.len(), 2);
    assert_eq!(run(&other), first);
    assert_eq!(run(&one), first, "again in the same directory");
    let said = String::from_utf8(first.0).expect("UTF-8");
    assert!(said.lines().last().expect("a status").contains("\"simulated\":true"));
}

#[test]
fn a_simulated_world_is_the_same_however_its_input_comes() {
    let mut input: Vec<String> = Vec::new();
    for round in 0..3 {
        let issue = |number| format!(r#"{{"cmd":"issue","to":"u{number}@example.org"}}"#);
        input.extend((0..20).map(issue));
        input.push(format!(r#"{{"cmd":"advance","seconds":{}}}"#, 1_200 + 90_000 * round));
    }
    let flags = ["--simulate", "7", "--remembered", "20", "--log", "off"];
    let at_once = Binary::new();
    let mut serve = at_once.assert(&["serve", "--outbox", "outbox"]);
    let output = serve.args(flags).write_stdin(input.join("\n")).assert().success();
    let mut talk = Talk::new(&flags);
    let one_by_one: String = input.iter().map(|line| talk.ask(line)).collect();
    assert_eq!(String::from_utf8_lossy(&output.get_output().stdout), one_by_one);
}

#[test]
fn the_log_holds_neither_codes_nor_addresses_nor_sessions() {
    for format in ["text", "json"] {
        let binary = Binary::new();
        let mut talk = Talk::with(binary.serve(&["--log", "debug", "--log-format", format]));
        let issued = talk.ask(r#"{"cmd":"issue","to":"ann.secret@example.org"}"#);
        let session = field(&issued, "session");
        let code = code_in(&fs::read_to_string(&mails(&binary.outbox())[0]).expect("a message"));
        for guess in [other_code(&code, 1), code.clone()] {
            talk.ask(&format!(r#"{{"cmd":"verify","session":"{session}","code":"{guess}"}}"#));
        }
        fs::rename(binary.outbox(), binary.dir.path().join("away")).expect("moved");
        let failed = talk.ask(r#"{"cmd":"issue","to":"bob.secret@example.org"}"#);
        assert_eq!(field(&failed, "error"), "delivery_failed");
        assert!(!failed.contains("No such file"));
        let (_, _, log) = talk.end();
        assert!(log.contains("b…@example.org") && log.contains("No such file"), "{log}");
        for secret in [&code, &other_code(&code, 1), &session, "ann", "secret"] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
        if format == "json" {
            for line in log.lines() {
                assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
            }
        }
    }
}

#[test]
fn what_is_configured_wrongly_is_refused_with_status_2() {
    let binary = Binary::new();
    fs::create_dir(binary.dir.path().join("open")).expect("made");
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(binary.dir.path().join("open"), open).expect("chmod");
    for args in [
        &[][..],
        &["frobnicate"],
        &["serve", "--digits", "5"],
        &["serve", "--attempts", "0"],
        &["serve", "--ttl", "forever"],
        &["serve", "--attempts", "10", "--failures-per-day", "5"],
        &["serve", "--outbox", "open"],
        &["serve", "--outbox", "/proc/nowhere"],
        &["serve", "--from", "nobody"],
        &["serve", "--product", "a\nb"],
        &["serve", "--simulate", "-1"],
        &["serve", "--simulate", "18446744073709551616"],
        &["serve", "--log", "loud"],
        &["policy", "--live-sessions", "11"],
    ] {
        let assert = binary.assert(args).write_stdin("{\"cmd\":\"status\"}\n").assert().code(2);
        assert.stdout("").stderr(predicate::str::is_empty().not());
    }
}

#[test]
fn settings_come_from_flags_and_from_the_environment() {
    let binary = Binary::new();
    let mut policy = binary.assert(&["policy", "--json"]);
    policy.env("OTPD_DIGITS", "8").env("OTPD_TTL", "1h").env("OTPD_COOL_DOWN", "90s");
    let told = predicate::str::starts_with("{\"digits\":8,\"ttl_s\":3600,")
        .and(predicate::str::contains("\"cool_down_s\":90,"));
    policy.assert().success().stdout(told);
    let mut both = binary.assert(&["policy", "--json", "--digits", "7"]);
    both.env("OTPD_DIGITS", "8")
        .assert()
        .success()
        .stdout(predicate::str::starts_with("{\"digits\":7,"));
    binary.assert(&["policy"]).env("OTPD_ATTEMPTS", "0").assert().code(2);
    for (name, value) in [("OTPD_SMTP_URL", "smtp://127.0.0.1"), ("OTPD_SENDMAIL", "/bin/true")] {
        for args in [&["--simulate", "1"][..], &["--outbox", "o"]] {
            let mut serve = binary.assert(&["serve", "--from", "a@x.org"]);
            let refused = serve.args(args).env(name, value).assert().code(2);
            refused.stdout("").stderr(predicate::str::is_empty().not());
        }
    }
    let long = binary.assert(&["serve", "--ttl", "1h", "--outbox", "o"]).assert().success();
    long.stderr(predicate::str::contains("3600 s"));
}

#[test]
fn without_an_outbox_it_is_the_one_here_and_the_operator_is_told() {
    let binary = Binary::new();
    let mut serve = binary.assert(&["serve"]);
    let assert = serve.write_stdin("{\"cmd\":\"issue\",\"to\":\"a@x.org\"}\n").assert().success();
    let assert = assert.stderr(predicate::str::contains("./outbox"));
    let file = field(&String::from_utf8_lossy(&assert.get_output().stdout), "file");
    assert!(file.starts_with("./outbox/"), "{file}");
    assert_eq!(mails(&binary.outbox()).len(), 1);
}

#[test]
fn it_ends_with_its_parent_if_it_is_told_to() {
    let binary = Binary::new();
    let program = binary.command(&[]).get_program().to_owned();
    let mut parent = Command::new("sh");
    let script = "exec 3<&0; \"$0\" serve --outbox o --die-with-parent <&3 & wait";
    parent.args(["-c", script]).arg(program).current_dir(binary.dir.path());
    let parent = parent.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
    let mut talk = Talk::with(parent);
    talk.ask(r#"{"cmd":"status"}"#);
    talk.signal(Signal::KILL);
    let mut rest = String::new();
    // Its stdin is still open; only the signal from the kernel can end it.
    talk.stdout.read_to_string(&mut rest).expect("the daemon lets go of stdout");
    assert_eq!(rest, "");
    talk.child.wait().expect("it ended");
}
