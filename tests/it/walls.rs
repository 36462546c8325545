//! The walls of the house, by reading its source.

use std::path::{Path, PathBuf};

/// Every source file, with what stands before its tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let source = |file: &PathBuf| {
        let name = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).expect("source");
        (name, text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned())
    };
    files.iter().map(source).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// Lines of code (not comments) that name one of `words`, in files that may not.
fn named(words: &[&str], may: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources().iter().filter(|(file, _)| !may(file)) {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{file}: {}", line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_engine_and_the_address_decide_and_do_nothing_else() {
    let world = [
        "std::io",
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "std::env",
        "SystemTime",
        "Instant",
        "rustix",
        "serde",
        "lettre",
        "rand::",
        "crate::mail",
        "crate::serve",
        "crate::protocol",
        "crate::log",
        "crate::system",
    ];
    let decides = |file: &str| file.starts_with("engine") || file == "address.rs";
    assert_eq!(named(&world, |file| !decides(file)), Vec::<String>::new());
}

#[test]
fn only_the_protocol_knows_json() {
    assert_eq!(named(&["serde"], |file| file.starts_with("protocol")), Vec::<String>::new());
}

#[test]
fn only_mail_knows_the_mail_library() {
    assert_eq!(named(&["lettre"], |file| file.starts_with("mail")), Vec::<String>::new());
}

#[test]
fn only_templates_know_the_template_engine() {
    let may = |file: &str| file.starts_with("mail/templates/");
    assert_eq!(named(&["minijinja"], may), Vec::<String>::new());
}

#[test]
fn only_the_relay_knows_tls_and_only_asking_knows_terminals() {
    assert_eq!(named(&["rustls"], |file| file.starts_with("mail/smtp")), Vec::<String>::new());
    let terminal = ["vte::", "tcsetattr", "/dev/tty"];
    let may = |file: &str| file.starts_with("ask") || file == "cli/asking.rs";
    assert_eq!(named(&terminal, may), Vec::<String>::new());
}

#[test]
fn only_the_replies_and_the_reports_touch_stdout() {
    let reports = ["cli.rs", "cli/asking.rs", "cli/preview.rs"];
    let may =
        |file: &str| reports.contains(&file) || matches!(file, "serve.rs" | "serve/replies.rs");
    assert_eq!(named(&["stdout()", "println!", "print!("], may), Vec::<String>::new());
}

#[test]
fn only_the_system_knows_the_real_clock_and_the_real_generator() {
    let may = |file: &str| file == "system.rs";
    assert_eq!(
        named(&["SystemTime::now", "Instant::now", "SysRng", "clock_gettime"], may),
        Vec::<String>::new()
    );
}

#[test]
fn a_wall_with_a_hole_is_seen() {
    assert!(!named(&["serde"], |_| false).is_empty());
    assert!(!named(&["lettre"], |_| false).is_empty());
    assert!(!named(&["rustls"], |_| false).is_empty());
    assert!(!named(&["vte::"], |_| false).is_empty());
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = std::fs::read_to_string(manifest).expect("a manifest");
    let mut before = "";
    let mut in_dependencies = false;
    let mut count = 0;
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && line.contains(" = ") {
            assert!(before.starts_with("# "), "no reason for {line}");
            count += 1;
        }
        before = line;
    }
    assert!(count > 10);
}
