//! The example of the README's section on test harnesses, as it stands there.

use assert_cmd::Command;
use predicates::str::contains;

#[test]
fn a_code_is_too_old_after_ten_minutes() {
    let dir = tempfile::tempdir().expect("a directory");
    let input = r#"
        {"cmd":"issue","to":"ann@example.org"}
        {"cmd":"advance","seconds":600}
        {"cmd":"verify","session":"LR8UUQ11VEDB7Q4UJHUGFOPAL4B6O2DM","code":"755401"}
    "#;
    Command::new(assert_cmd::cargo::cargo_bin!("otpd"))
        .args(["serve", "--simulate", "7", "--outbox", "outbox"])
        .current_dir(&dir)
        .write_stdin(input)
        .assert()
        .success()
        .stdout(contains(r#""error":"expired""#));
}
