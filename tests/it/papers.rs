//! The README against the program: its examples are run, its tables are made from the code.
//!
//! `UPDATE_README=1 cargo test papers` writes the tables and the policy anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use otpd::cli::flags::Cli;
use otpd::protocol::help::{COMMANDS, ERRORS};

use crate::harness::Binary;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("a README")
}

/// The code blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let readme = readme();
    readme
        .split(&opening)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned())
        .collect()
}

/// Holds what stands between two lines of the README against `expected`.
fn holds(from: &str, to: &str, expected: &str) {
    let readme = readme();
    let (before, rest) = readme.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    let (found, after) = rest.split_once(to).unwrap_or_else(|| panic!("no {to} after {from}"));
    if std::env::var_os("UPDATE_README").is_some() {
        let text = format!("{before}{from}{expected}{to}{after}");
        fs::write(root().join("README.md"), text).expect("written");
        return;
    }
    assert_eq!(found, expected, "run UPDATE_README=1 cargo test papers");
}

fn table(name: &str, rows: &[String]) {
    holds(&format!("<!-- table: {name} -->\n"), "<!-- end -->", &(rows.join("\n") + "\n"));
}

/// One test, since two would write the file at once.
#[test]
fn the_tables_of_the_readme_are_those_of_the_program() {
    let mut rows =
        vec!["| command | field | | |".to_owned(), "| --- | --- | --- | --- |".to_owned()];
    for command in &COMMANDS {
        rows.push(format!("| **`{}`** | | | {} |", command.name, command.about));
        for field in command.fields {
            rows.push(format!("| | `{}` | {} | {} |", field.name, field.form, field.about));
        }
    }
    table("commands", &rows);

    let mut rows =
        vec!["| `error` | when | further fields |".to_owned(), "| --- | --- | --- |".to_owned()];
    for error in &ERRORS {
        let fields: Vec<String> = error.fields.iter().map(|field| format!("`{field}`")).collect();
        rows.push(format!("| `{}` | {} | {} |", error.name, error.when, fields.join(", ")));
    }
    table("errors", &rows);

    let mut rows = vec![
        "| flag | environment | default | |".to_owned(),
        "| --- | --- | --- | --- |".to_owned(),
    ];
    let definition = Cli::definition();
    let serve = definition.find_subcommand("serve").expect("serve");
    for arg in serve.get_arguments().filter(|arg| arg.get_id() != "help") {
        let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
        let value = value.map_or(String::new(), |names| format!(" {}", names[0]));
        let env =
            arg.get_env().map_or(String::new(), |name| format!("`{}`", name.to_string_lossy()));
        let default = arg.get_default_values().first().filter(|_| arg.get_action().takes_values());
        let default =
            default.map_or(String::new(), |value| format!("`{}`", value.to_string_lossy()));
        let about = arg.get_help().expect("a help").to_string();
        let flag = arg.get_long().expect("a long flag");
        rows.push(format!("| `--{flag}{value}` | {env} | {default} | {about} |"));
    }
    table("flags", &rows);

    let output = Binary::new().assert(&["policy"]).assert().success();
    let policy = String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8");
    holds("```policy\n", "```", &policy);
}

/// A text without its line breaks and indentation.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ") + " "
}

#[test]
fn otpd_help_lists_what_the_readme_lists() {
    let output = Binary::new().assert(&["help"]).assert().success();
    let help = unwrapped(&String::from_utf8_lossy(&output.get_output().stdout));
    for command in &COMMANDS {
        assert!(
            help.contains(&format!(" {} {} ", command.name, command.about)),
            "{}",
            command.name
        );
        for field in command.fields {
            let line = format!(" - {} ({}): {} ", field.name, field.form, field.about);
            assert!(help.contains(&line), "{line}");
        }
    }
    for error in &ERRORS {
        assert!(help.contains(&format!(" {} {}", error.name, error.when)), "{}", error.name);
    }
    let serve = Binary::new().assert(&["help", "serve"]).assert().success();
    let serve = String::from_utf8(serve.get_output().stdout.clone()).expect("UTF-8");
    for arg in Cli::definition().find_subcommand("serve").expect("serve").get_arguments() {
        assert!(serve.contains(&format!("--{}", arg.get_long().expect("a long flag"))));
    }
}

#[test]
fn the_help_is_short_for_h_and_full_for_help_and_keeps_what_is_set_to_itself() {
    let help = |flag: &str| {
        let binary = Binary::new();
        let mut command = binary.assert(&["serve", flag]);
        let output = command.env("OTPD_FROM", "set@example.org").assert().success();
        String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8")
    };
    let (short, full) = (help("-h"), help("--help"));
    assert!(short.len() < full.len());
    assert!(!full.contains("set@example.org") && full.contains("OTPD_FROM"));
}

#[test]
fn the_transcript_of_the_readme_is_what_otpd_says() {
    let [transcript] = &blocks("transcript")[..] else { panic!("one transcript") };
    let lines = |mark| -> String {
        transcript
            .lines()
            .filter_map(|line| line.strip_prefix(mark))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let serve = ["serve", "--simulate", "7", "--outbox", "outbox"];
    let output = Binary::new().assert(&serve).write_stdin(lines("> ")).assert().success();
    assert_eq!(String::from_utf8_lossy(&output.get_output().stdout), lines("< "));
}

/// A command that finds `otpd` on its path, as it would after `cargo install`.
fn with_otpd_on_path(program: &str, binary: &Binary) -> Command {
    let otpd = PathBuf::from(binary.command(&[]).get_program());
    let mut paths = vec![otpd.parent().expect("a directory").to_owned()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(program);
    command.env("PATH", std::env::join_paths(paths).expect("paths")).current_dir(binary.dir.path());
    command
}

#[test]
fn the_shell_examples_of_the_readme_work() {
    let [bare, client] = &blocks("sh")[..] else { panic!("two shell examples") };
    // Somebody mistypes the code, and then types what the message says.
    let person = r#"read() {
        if [[ $1 != -rp ]]; then builtin read "$@"; return; fi
        code=$(tr -d '\r' <outbox/*.eml | grep -xE '[0-9]{6}')
        [[ ${typed-} ]] || code=12
        typed=yes
    }
    "#;
    for script in [bare, &format!("{person}{client}")] {
        let binary = Binary::new();
        fs::copy(root().join("scripts/clients/otpd.sh"), binary.dir.path().join("otpd.sh"))
            .expect("copied");
        let output =
            with_otpd_on_path("bash", &binary).args(["-euc", script]).output().expect("bash");
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(told, "Ann reads mail there.\n", "{output:?}");
    }
}

/// The examples that are run by a script of their language, which stands in for a web framework.
#[test]
fn the_python_and_node_examples_of_the_readme_work() {
    for (program, script) in [("python3", "readme.py"), ("node", "readme.mjs")] {
        if Command::new(program).arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "skipped: there is no {program}");
            continue;
        }
        let binary = Binary::new();
        let script = root().join("tests/clients").join(script);
        let output = with_otpd_on_path(program, &binary).arg(script).output().expect(program);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "as it says\n", "{output:?}");
    }
}

/// The example is a test of its own: `tests/it/readme_example.rs`.
#[test]
fn the_rust_example_of_the_readme_is_run() {
    let [example] = &blocks("rust")[..] else { panic!("one Rust example") };
    let file = fs::read_to_string(root().join("tests/it/readme_example.rs")).expect("the example");
    let code = file.split_once("\n\n").map_or("", |(_, code)| code);
    assert_eq!(code.trim_end(), example.trim_end());
}

#[test]
fn the_demo_shows_a_whole_conversation_and_ends_well() {
    let binary = Binary::new();
    let otpd = binary.command(&[]).get_program().to_owned();
    let mut demo = Command::new(root().join("scripts/demo"));
    let output = demo.env("OTPD_BIN", otpd).stdin(Stdio::null()).output().expect("the demo");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in ["Your code is", "wrong_code", "\"ok\":true", "already_used", "exit status 0"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
