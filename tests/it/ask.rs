//! `otpd ask`: a person at a terminal, and a script without one.

use std::process::Stdio;

use predicates::str::contains;

use crate::harness::{Binary, code_in, field, mails, other_code};
use crate::talk::Reaped;
use crate::tty::Tty;

/// Asks ann on a terminal of 80 columns.
fn ask(binary: &Binary, args: &[&str]) -> Tty {
    ask_at(binary, args, 80, &[("LANG", "C.UTF-8"), ("TERM", "xterm-256color")])
}

fn ask_at(binary: &Binary, args: &[&str], columns: u16, env: &[(&str, &str)]) -> Tty {
    let program = binary.command(&[]).get_program().to_owned();
    let mut command = portable_pty::CommandBuilder::new(program);
    command.env_clear();
    command.args(["ask", "ann@example.org"]);
    command.args(args);
    command.cwd(binary.dir.path());
    for (name, value) in env {
        command.env(name, value);
    }
    Tty::start(command, columns)
}

/// The code that was mailed.
fn code(binary: &Binary) -> String {
    let file = mails(&binary.outbox()).pop().expect("a message");
    code_in(&std::fs::read_to_string(file).expect("a message"))
}

#[test]
fn the_right_code_lets_in_and_leaves_one_line_and_the_terminal_as_it_was() {
    let binary = Binary::new();
    let mut tty = ask(&binary, &[]);
    let screen = tty.see("Ctrl-C");
    assert!(screen.contains("A code of 6 digits was sent to ann@example.org."));
    assert!(screen.contains("┌───┐ ┌───┐ ┌───┐   ┌───┐ ┌───┐ ┌───┐"));
    assert!(screen.contains("r: send again in "));
    let code = code(&binary);
    tty.keys(&code[..3]);
    let typed = format!("│ {} │ │ {} │ │ {} │   │   │", &code[..1], &code[1..2], &code[2..3]);
    tty.see(&typed);
    assert_eq!(tty.cursor(), (5, 24), "{}", tty.see(""));
    tty.keys(&code[3..]);
    let (status, screen) = tty.end();
    assert_eq!((status, screen.trim_end()), (0, "  ✓ ann@example.org is verified."));
}

#[test]
fn wrong_codes_are_told_until_there_are_no_attempts_left() {
    let binary = Binary::new();
    let mut tty = ask(&binary, &["--attempts", "2", "--json"]);
    let before = tty.see("Ctrl-C");
    assert!(!before.contains("attempt"));
    let wrong = other_code(&code(&binary), 1);
    tty.keys(&wrong);
    let screen = tty.see("That is not the code. 1 attempt left.");
    assert!(screen.contains("│   │ │   │ │   │   │   │ │   │ │   │"), "{screen}");
    tty.keys(&wrong);
    let (status, screen) = tty.end();
    assert_eq!(status, 1);
    assert!(screen.contains("✗ That is not the code, and there are no attempts left."));
    assert!(screen.contains("\"error\":\"wrong_code\""), "{screen}");
}

#[test]
fn a_code_may_be_pasted_as_it_was_written_down() {
    let binary = Binary::new();
    let mut tty = ask(&binary, &[]);
    tty.see("Ctrl-C");
    let code = code(&binary);
    tty.keys("\x1b[200~this is no code\x1b[201~");
    tty.see("That is not a code of 6 digits.");
    tty.keys(&format!("12\x1b[200~ {} {}\n\x1b[201~", &code[..3], &code[3..]));
    assert_eq!(tty.end().0, 0);
}

#[test]
fn it_is_sent_again_when_it_is_time_for_that() {
    let binary = Binary::new();
    let mut tty = ask(&binary, &["--cool-down", "1s"]);
    tty.see("Ctrl-C");
    tty.until("the end of the cool-down", |screen| screen.contains("r: send again ·"));
    tty.keys("r");
    tty.see("It was sent again: the same code.");
    let files = mails(&binary.outbox());
    let text = |at: usize| code_in(&std::fs::read_to_string(&files[at]).expect("a message"));
    assert_eq!((files.len(), text(0)), (2, text(1)));
    tty.keys("r");
    tty.see("It can be sent again in 1 second.");
    tty.keys(&text(1));
    assert_eq!(tty.end().0, 0);
}

#[test]
fn whoever_leaves_gets_their_terminal_back() {
    for (keys, signal, expected) in [
        ("\x03", None, 130),
        ("\x04", None, 1),
        ("\x1c", None, 131),
        ("", Some(rustix::process::Signal::TERM), 143),
        ("", Some(rustix::process::Signal::HUP), 129),
    ] {
        let binary = Binary::new();
        let mut tty = ask(&binary, &[]);
        tty.see("Ctrl-C");
        let borrowed = tty.settings();
        tty.keys(keys);
        if let Some(signal) = signal {
            let pid = rustix::process::Pid::from_raw(tty.pid()).expect("a pid");
            rustix::process::kill_process(pid, signal).expect("it lives");
        }
        tty.see("Not verified.");
        let settings = |tty: &Tty| tty.settings();
        let mut given_back = settings(&tty);
        while given_back == borrowed {
            std::thread::yield_now();
            given_back = settings(&tty);
        }
        assert!(given_back.contains("ICANON") && !borrowed.contains("ICANON"), "{given_back}");
        assert_eq!(tty.end().0, expected, "{keys:?} {signal:?}");
    }
}

#[test]
fn it_stops_and_goes_on() {
    let binary = Binary::new();
    let mut tty = ask(&binary, &[]);
    tty.see("Ctrl-C");
    tty.keys("12");
    tty.see("│ 1 │ │ 2 │");
    tty.keys("\x1a");
    let stat = format!("/proc/{}/stat", tty.pid());
    let is_stopped = || std::fs::read_to_string(&stat).expect("it lives").contains(") T ");
    while !is_stopped() {
        std::thread::yield_now();
    }
    assert!(tty.settings().contains("ICANON"));
    tty.until("an empty screen", |screen| !screen.contains('│'));
    let pid = rustix::process::Pid::from_raw(tty.pid()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("it lives");
    tty.see("│ 1 │ │ 2 │");
    tty.keys(&format!("\x15{}", code(&binary)));
    assert_eq!(tty.end().0, 0);
}

#[test]
fn at_40_columns_and_in_ascii_it_is_as_good() {
    let binary = Binary::new();
    let env = [("LANG", "C"), ("TERM", "vt100"), ("NO_COLOR", "1")];
    let mut tty = ask_at(&binary, &["--outbox", "o", "--digits", "8", "--mask"], 40, &env);
    let screen = tty.see("Ctrl-C");
    assert!(screen.is_ascii() || screen.contains("a…@"), "{screen}");
    assert!(screen.contains("+-+-+-+-+-+-+-+-+"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 40));
    tty.resize(30);
    tty.keys("1");
    tty.until("one picture", |screen| {
        screen.contains("|1| | | | | | | |") && screen.matches("valid for").count() == 1
    });
    tty.keys("\x03");
    assert_eq!(tty.end().0, 130);
}

#[test]
fn plain_lines_are_asked_on_a_terminal_that_can_do_no_more_or_if_they_are_wanted() {
    for (args, term) in [(&["--plain"][..], "xterm"), (&[], "dumb")] {
        let binary = Binary::new();
        let mut tty = ask_at(&binary, args, 80, &[("TERM", term)]);
        let screen = tty.see("Code (r: send again): ");
        assert!(screen.starts_with("A code of 6 digits was sent to ann@example.org.\n"));
        assert!(screen.contains("It is valid for 10 minutes.\n"));
        let code = code(&binary);
        tty.keys(&format!("{}\n", other_code(&code, 1)));
        tty.see("That is not the code. 4 attempts left.\nCode");
        tty.keys(&format!("{code}\n"));
        let (status, screen) = tty.end();
        assert_eq!(status, 0);
        assert!(screen.ends_with("ann@example.org is verified."), "{screen}");
        assert!(!screen.contains('─'));
    }
}

/// A daemon-less visit that is driven by lines.
fn script(binary: &Binary, args: &[&str]) -> Reaped {
    let mut command = binary.command(&["ask", "ann@example.org", "--stdin"]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Reaped(command.spawn().expect("otpd starts"))
}

#[test]
fn a_script_types_lines_and_reads_the_exit_status() {
    use std::io::{BufRead, BufReader, Read, Write};
    let binary = Binary::new();
    let mut child = script(&binary, &["--json", "--purpose", "deploy"]);
    let mut prompts = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("sent to ann@example.org") {
        line.clear();
        assert!(prompts.read_line(&mut line).expect("text") > 0);
    }
    let code = code(&binary);
    let mut stdin = child.stdin.take().expect("piped");
    let typed = format!("\n12345\nr\n{}\n{} {}\n", other_code(&code, 7), &code[..3], &code[3..]);
    stdin.write_all(typed.as_bytes()).expect("taken");
    let mut rest = String::new();
    prompts.read_to_string(&mut rest).expect("text");
    for told in [
        "A code is 6 digits.",
        "It can be sent again in ",
        "That is not the code. 4 attempts left.",
        "ann@example.org is verified.",
    ] {
        assert!(rest.contains(told), "{told}: {rest}");
    }
    let mut reply = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut reply).expect("text");
    assert_eq!((field(&reply, "ok"), field(&reply, "purpose")), ("true".into(), "deploy".into()));
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn how_it_ends_without_a_code_is_told_too() {
    let binary = Binary::new();
    let run = |args: &[&str], input: &str| {
        let mut command = binary.assert(&["ask", "--stdin", "--json"]);
        command.args(args).write_stdin(input).assert()
    };
    let ann = "ann@example.org";
    run(&[ann], "").code(1).stdout(contains("\"error\":\"cancelled\""));
    run(&[ann], "123\n").code(1).stdout(contains("\"error\":\"bad_code\""));
    run(&["not an address"], "").code(2).stdout(contains("\"error\":\"bad_address\""));
    run(&[], "ann@example.org\n123456").code(1).stderr(contains("E-mail address: "));
    run(&[], "nobody\n").code(2);
    run(&[], "").code(1).stdout(contains("\"error\":\"cancelled\""));
    run(&[ann, "--smtp", "smtp://127.0.0.1:1", "--from", "a@x.org"], "123456\n")
        .code(3)
        .stdout(contains("\"error\":\"delivery_failed\""))
        .stderr(contains("could not be sent"));
    run(&[ann, "--digits", "5"], "").code(2).stdout("");
    binary.assert(&["ask", ann, "--stdin"]).write_stdin("").assert().code(1).stdout("");
}
