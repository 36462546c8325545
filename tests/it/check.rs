//! The way that mail goes, as it is configured: what is refused at the start, and `otpd check`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use assert_cmd::assert::Assert;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

use crate::harness::{Binary, field};
use crate::smtp::{converse, server};

const FROM: [&str; 2] = ["--from", "otpd@acme.example"];

/// Runs a command in `binary`'s directory, with environment.
fn run(binary: &Binary, args: &[&str], env: &[(&str, &str)]) -> Assert {
    binary.assert(args).args(FROM).envs(env.iter().copied()).write_stdin("").assert()
}

#[test]
fn each_step_is_told_and_the_exit_status_says_whether_mail_can_go() {
    let binary = Binary::new();
    let (address, seen) = server(|_, stream, seen| converse(stream, seen, &|_| None));
    let url = format!("smtp://ann@{address}");
    run(&binary, &["check", "--smtp", &url], &[("OTPD_SMTP_PASSWORD", "hunter2")]).code(0).stdout(
        format!(
            "relay      ok      smtp://ann@{address}\n\
             look up    ok      127.0.0.1\n\
             connect    ok      {address}\n\
             greeting   ok      relay\n\
             hello      ok      relay\n\
             log in     ok      235 ok\n"
        ),
    );
    assert!(seen.messages.lock().expect("whole").is_empty());

    let (address, _) = server(|_, stream, seen| {
        converse(stream, seen, &|word| (word == "AUTH").then_some("535 hunter2 is wrong\r\n"))
    });
    let url = format!("smtp://ann:hunter2@{address}");
    run(&binary, &["check"], &[("OTPD_SMTP_URL", &url)])
        .code(3)
        .stdout(contains("\nlog in     FAILED  535 (withheld)\n").and(contains("hunter2").not()))
        .stderr("");
}

#[test]
fn other_ways_are_checked_too() {
    let binary = Binary::new();
    run(&binary, &["check", "--outbox", "o"], &[]).code(0).stdout("outbox     ok      o\n");
    let sendmail = ["check", "--sendmail", "/bin/true"];
    run(&binary, &sendmail, &[]).code(0).stdout("sendmail   ok      /bin/true\n");
    run(&binary, &["check", "--sendmail", "/nowhere"], &[]).code(2).stdout("");
}

#[test]
fn a_password_comes_from_one_place_that_others_can_not_see() {
    let binary = Binary::new();
    let (address, _) = server(|_, stream, seen| {
        converse(stream, seen, &|word| (word == "AUTH").then_some("235 welcome\r\n"))
    });
    let file = binary.dir.path().join("password");
    let set = |text: &str, mode| {
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let url = format!("smtp://ann@{address}");
    let from_file = ["check", "--smtp", &url, "--smtp-password-file", "password"];
    for (text, mode, code) in [
        ("secret\n", 0o600, 0),
        ("secret\r\n", 0o400, 0),
        ("secret", 0o600, 0),
        ("secret\n", 0o640, 2),
        ("secret\n", 0o604, 2),
        ("", 0o600, 2),
        ("\n", 0o600, 2),
        ("two\nlines\n", 0o600, 2),
    ] {
        set(text, mode);
        run(&binary, &from_file, &[]).code(code).stderr(contains("secret").not());
    }
    set("secret\n", 0o600);
    run(&binary, &from_file, &[("OTPD_SMTP_PASSWORD", "secret")]).code(2);
    let check = ["check", "--smtp", &url];
    run(&binary, &check, &[]).code(2).stderr(contains("there is no password"));
    run(&binary, &check, &[("OTPD_SMTP_PASSWORD", "")]).code(2);
    set(&"x".repeat(5_000), 0o600);
    run(&binary, &from_file, &[]).code(2);
    rustix::fs::mkfifoat(rustix::fs::CWD, binary.dir.path().join("fifo"), 0o600.into())
        .expect("a pipe");
    for file in ["missing", ".", "fifo", "/dev/zero"] {
        let args = ["check", "--smtp", &url, "--smtp-password-file", file];
        run(&binary, &args, &[]).code(2);
    }

    let with_password = format!("smtp://ann:secret@{address}");
    run(&binary, &["check", "--smtp", &with_password], &[])
        .code(2)
        .stderr(contains("OTPD_SMTP_PASSWORD").and(contains("secret").not()));
    run(&binary, &["check"], &[("OTPD_SMTP_URL", &with_password)]).code(0);
}

#[test]
fn what_can_not_work_is_refused_at_the_start_and_not_repeated() {
    let binary = Binary::new();
    let url = "smtp://relay.example";
    for args in [
        &["--smtp", ""][..],
        &["--smtp", "relay.example:secret"],
        &["--smtp", "http://secret@relay.example"],
        &["--smtp", "smtp://relay.example?secret"],
        &["--smtp", url, "--outbox", "o"],
        &["--smtp", url, "--sendmail", "/bin/true"],
        &["--smtp", url, "--simulate", "7"],
        &["--smtp", url, "--smtp-ca", "missing"],
        &["--smtp", url, "--smtp-ca", "/dev/null"],
        &["--smtp", url, "--smtp-ca", "/dev/zero"],
        &["--smtp", url, "--smtp-hello", "a\r\nb"],
        &["--smtp", url, "--smtp-hello", ""],
        &["--smtp", url, "--smtp-connections", "0"],
        &["--smtp", url, "--smtp-connections", "65"],
    ] {
        run(&binary, &[&["serve"], args].concat(), &[])
            .code(2)
            .stdout("")
            .stderr(contains("secret").not());
    }
    binary.assert(&["serve", "--smtp", url]).assert().code(2).stderr(contains("`--from`"));
    run(&binary, &["serve", "--outbox", "o"], &[("OTPD_SMTP_URL", url)]).code(2);
    // An empty variable is one that is not set.
    let empty = [("OTPD_SMTP_URL", ""), ("OTPD_SENDMAIL", ""), ("OTPD_SMTP_CA", "")];
    run(&binary, &["serve", "--outbox", "o"], &empty).code(0);
    run(&binary, &["check", "--sendmail", "/bin/true"], &[("OTPD_OUTBOX", "")]).code(0);
    // The server need not be there at the start.
    run(&binary, &["serve", "--smtp", "smtp://127.0.0.1:1"], &[("OTPD_SMTP_PASSWORD", "x")])
        .code(0)
        .stderr(contains("nobody logs in"));
}

#[test]
fn a_code_goes_by_the_mail_server_and_lets_its_reader_in() {
    let (address, seen) = server(|_, stream, seen| converse(stream, seen, &|_| None));
    let binary = Binary::new();
    let mut command = binary.command(&["serve", "--smtp", &format!("smtp://{address}")]);
    command.args(FROM).stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut talk = crate::talk::Talk::with(command.spawn().expect("otpd starts"));
    let issued = talk.ask(r#"{"cmd":"issue","to":"Ann@example.org"}"#);
    assert_eq!(
        (field(&issued, "delivery"), field(&issued, "via"), field(&issued, "file")),
        ("sent".into(), "smtp".into(), "null".into())
    );
    let message = seen.messages.lock().expect("whole").pop().expect("a message");
    let (session, code) = (field(&issued, "session"), crate::harness::code_in(&message));
    let verified =
        talk.ask(&format!(r#"{{"cmd":"verify","session":"{session}","code":"{code}"}}"#));
    assert_eq!(field(&verified, "ok"), "true");
    assert_eq!(talk.end().1.code(), Some(0));
}
