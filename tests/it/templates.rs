//! Languages and own templates: what is refused at start, what is chosen, what is written.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Binary, code_in, field, mails};
use crate::talk::Talk;

const LANGUAGES: [&str; 12] =
    ["en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "ja", "zh", "ar"];

const SUBJECT: &str = "Hello {{ vars.name }} from {{ product }}\n";
const TEXT: &str = "Hello {{ vars[\"name\"] }},\n\n{{ code }}\n\n\
                    {% if purpose %}\nFor {{ purpose }}.\n{% endif %}\n{{ minutes }} min.\n";
const HTML: &str = "<p>Hello {{ vars.name }}, <b>{{ code }}</b></p>\n<p>{{ purpose }}</p>\n";

/// Writes templates below `templates`: the usual three files in `tag`, one of them replaced.
fn write(binary: &Binary, tag: &str, file: &str, text: &str) {
    let dir = binary.dir.path().join("templates").join(tag);
    fs::create_dir_all(&dir).expect("a directory");
    for (name, usual) in [("subject.txt", SUBJECT), ("body.txt", TEXT), ("body.html", HTML)] {
        fs::write(dir.join(name), if name == file { text } else { usual }).expect("written");
    }
}

/// How `otpd serve` with these templates ends, and what it says.
fn started(binary: &Binary, flags: &[&str]) -> Result<(), String> {
    let mut args = vec!["serve", "--outbox", "outbox", "--templates", "templates"];
    args.extend(flags);
    let output = binary.command(&args).stdin(Stdio::null()).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    match output.status.code() {
        Some(0) => Ok(()),
        code => {
            assert_eq!((code, output.stdout), (Some(2), vec![]), "{said}");
            Err(said.trim_end().to_owned())
        }
    }
}

#[test]
fn what_is_wrong_with_a_template_is_told_with_its_file_and_line() {
    let long = format!("{{{{ code }}}}\nx\n{}\n", "x".repeat(999));
    let many = "{% for x in \"0123456789\" %}".repeat(6) + "x" + &"{% endfor %}".repeat(6);
    let larger = format!("{{{{ code }}}}\n{}", "x\n".repeat(33_000));
    let cases = [
        ("body.txt", "{{ code }}\n\n{{ prodcut }}\n", "3: unknown value \"prodcut\""),
        (
            "body.txt",
            "{{ code }}\n{% if vars.x == \"y\" %}{{ a }}{% endif %}",
            "2: unknown value \"a\"",
        ),
        ("body.txt", "{{ code }}\n{{ code.x }}", "2: unknown value \"code.x\""),
        ("body.html", "code\n{{ code }} {{ vars.a.b }}", "2: unknown value \"vars.a.b\""),
        ("body.txt", "{{ code }}\n{% if %}\n", "2: unexpected end of block"),
        ("body.txt", "{{ code }}\n{{ product|upper }}\n", "2: filter upper is unknown"),
        ("body.html", "{{ code }}\n{{ purpose|safe }}\n", "2: filter safe is unknown"),
        ("body.txt", "{% include \"x\" %}{{ code }}", "1: unknown statement include"),
        ("body.txt", "Hello\nyou\n", "2: there is no {{ code }}"),
        ("body.html", "<p>\n{# code #}</p>\n\n", "3: there is no {{ code }}"),
        ("body.txt", "{{ code[:3] }}\n", "1: value of type plain object cannot be sliced"),
        (
            "body.html",
            "{{ code }} {% for x in code %}{% endfor %}",
            "1: plain object is not iterable",
        ),
        (
            "body.txt",
            "a\n{% if purpose %}\n{{ code }}\n{% endif %}\n",
            "4: there is no {{ code }} (without a purpose)",
        ),
        (
            "body.html",
            "{% if vars.x %}{{ code }}{% endif %}",
            "1: there is no {{ code }} (without vars)",
        ),
        ("body.txt", "{{ code }}\n\n{{ code }}\n", "3: the code stands here once more"),
        ("body.html", "<p>{{ code }}\n{{ code }}", "2: the code stands here once more"),
        (
            "body.txt",
            "a\nYour code: {{ code }}\n",
            "2: the code must be alone on its line, without blanks",
        ),
        ("body.txt", "{{ code }} \n", "1: the code must be alone on its line, without blanks"),
        ("body.txt", &long, "3: a line is longer than 998 bytes"),
        ("body.html", &long, "3: a line is longer than 998 bytes"),
        (
            "body.txt",
            "{{ code }}\n{{ vars.x }}\n",
            "2: digits alone on a line could pass for the code",
        ),
        (
            "body.html",
            "{% autoescape false %}\n{{ code }}\n{{ vars.x }}{% endautoescape %}",
            "3: a value is not escaped in HTML",
        ),
        ("subject.txt", "", "1: the subject is empty"),
        ("subject.txt", "{{ vars.title }}\n", "1: the subject is empty (without vars)"),
        (
            "subject.txt",
            "Hello\nBcc: eve@example.org\n",
            "2: the subject must be one line, without control characters",
        ),
        (
            "subject.txt",
            "Code {{ code }}",
            "1: the code is in the subject, which a locked telephone shows (`--code-in-subject` \
             allows it)",
        ),
        ("body.txt", "{{ code }}\n\n\u{7}", "3: there is a control character in it"),
        ("body.txt", &many, "1: engine ran out of fuel"),
    ];
    for (file, text, expected) in cases {
        let binary = Binary::new();
        write(&binary, "de", file, text);
        let why = started(&binary, &[]).expect_err(text);
        assert_eq!(why, format!("otpd: templates: de/{file}:{expected}"));
    }
    let binary = Binary::new();
    write(&binary, "de", "body.txt", &larger);
    let why = started(&binary, &[]).expect_err("too large");
    assert_eq!(why, "otpd: templates: de/body.txt: it is larger than 64 KiB");
}

#[test]
fn a_template_of_nothing_but_depth_is_refused_or_works_and_nothing_overflows() {
    let binary = Binary::new();
    for deep in [
        "-".repeat(64_000) + "1",
        "not ".repeat(15_000) + "1",
        "(".repeat(30_000),
        "1".to_owned() + &"**1".repeat(20_000),
    ] {
        write(&binary, "de", "body.txt", &format!("{{{{ code }}}}\n\n{{{{ {deep} }}}}.\n"));
        // How it ended is looked at in there: by itself, with a sentence or none.
        let _ = started(&binary, &[]);
    }
}

#[test]
fn the_code_in_a_subject_is_a_word_of_its_own_if_it_is_allowed() {
    for (subject, expected) in [
        ("{{ code }}", Ok(())),
        ("{{ code }} für {{ product }}\n", Ok(())),
        ("Ваш {{ code }} код\n", Ok(())),
        ("Code:{{ code }}", Err("1: the code in the subject must stand between blanks")),
        ("{{ code }} {{ code }}", Err("1: the code is in the subject more than once")),
    ] {
        let binary = Binary::new();
        write(&binary, "de", "subject.txt", subject);
        let expected =
            expected.map_err(|why: &str| format!("otpd: templates: de/subject.txt:{why}"));
        assert_eq!(started(&binary, &["--code-in-subject"]), expected);
    }
    let binary = Binary::new();
    write(&binary, "de", "subject.txt", "Schlüssel {{ code }} für Männer: {{ vars.x }}");
    let mut talk = Talk::with(binary.serve(&[
        "--templates",
        "templates",
        "--code-in-subject",
        "--locale",
        "de",
    ]));
    talk.ask(r#"{"cmd":"issue","to":"ann@example.org","vars":{"x":"=?utf-8?q?x?="}}"#);
    let message = fs::read_to_string(&mails(&binary.outbox())[0]).expect("a message");
    let code = code_in(&message);
    assert!(message.contains(&format!("\r\nSubject: =?utf-8?b?U2NobMO8c3NlbA==?= {code} =?")));
    assert_eq!(message.matches(&code).count(), 3);
}

/// Puts something where it should not be.
type Prepare = fn(&Path);

#[test]
fn what_can_not_be_read_is_refused_with_its_path() {
    let cases: [(Prepare, &str); 9] = [
        (
            |dir| fs::remove_file(dir.join("de/body.txt")).expect("gone"),
            "de/body.txt: No such file",
        ),
        (|dir| fs::create_dir(dir.join("de_AT")).expect("made"), "`de_AT` is not a language tag"),
        (|dir| fs::create_dir(dir.join("de/x")).expect("made"), "de/x: only subject.txt, "),
        (|dir| fs::write(dir.join("de/body.htm"), "").expect("written"), "de/body.htm: only "),
        (
            |dir| fs::write(dir.join("de/body.txt"), b"a\n\xff").expect("written"),
            "de/body.txt:2: it is not UTF-8",
        ),
        (
            |dir| {
                fs::remove_file(dir.join("de/body.txt")).expect("gone");
                fs::create_dir(dir.join("de/body.txt")).expect("made");
            },
            "de/body.txt: it is not a file",
        ),
        (
            |dir| {
                fs::create_dir(dir.join("DE")).expect("made");
                for file in ["subject.txt", "body.txt", "body.html"] {
                    fs::copy(dir.join("de").join(file), dir.join("DE").join(file)).expect("there");
                }
            },
            "`DE` and `de` are the same language",
        ),
        (|dir| fs::remove_dir_all(dir.join("de")).expect("gone"), "there is no directory of a"),
        (|dir| fs::remove_dir_all(dir).expect("gone"), "No such file"),
    ];
    for (prepare, expected) in cases {
        let binary = Binary::new();
        write(&binary, "de", "", "");
        prepare(&binary.dir.path().join("templates"));
        let why = started(&binary, &[]).expect_err(expected);
        assert!(why.starts_with("otpd: templates") && why.contains(expected), "{why}");
    }
}

#[test]
fn files_beside_the_languages_and_hidden_ones_are_left_alone() {
    let binary = Binary::new();
    write(&binary, "de", "", "");
    let dir = binary.dir.path().join("templates");
    for file in ["README", ".hidden", "de/.body.txt.swp"] {
        fs::write(dir.join(file), "{{ nothing }}").expect("written");
    }
    fs::create_dir(dir.join("..data")).expect("made");
    assert_eq!(started(&binary, &[]), Ok(()));
    assert!(started(&binary, &["--locale", "eo"]).is_err_and(|why| why.contains("`--locale eo`")));
}

#[test]
fn own_templates_are_given_their_values_and_fall_back() {
    let binary = Binary::new();
    write(&binary, "de", "", "");
    let flags = ["--templates", "templates", "--product", "A & B"];
    let mut talk = Talk::with(binary.serve(&flags));
    let mut mail = |more: &str| {
        let to = format!("ann{}@example.org", more.len());
        let reply = talk.ask(&format!(r#"{{"cmd":"issue","to":"{to}"{more}}}"#));
        fs::read_to_string(binary.dir.path().join(field(&reply, "file"))).expect("a message")
    };
    let own = mail(r#","locale":"de-AT","purpose":"<i>","vars":{"name":"Ann <b>","x":"y"}"#);
    let code = code_in(&own);
    assert!(own.contains("\r\nSubject: Hello Ann <b> from A & B\r\n"), "{own}");
    let text = format!("\r\nHello Ann <b>,\r\n\r\n{code}\r\n\r\nFor <i>.\r\n10 min.\r\n");
    assert!(own.contains(&text), "{own}");
    assert!(
        own.contains(&format!("<p>Hello Ann &lt;b&gt;, <b>{code}</b></p>\r\n<p>&lt;i&gt;</p>"))
    );
    let bare = mail(r#","locale":"de","vars":{"other":"y"}"#);
    assert!(bare.contains("\r\nSubject: Hello from A & B\r\n"), "{bare}");
    for more in [r#","locale":"eo""#, "", r#","vars":{"name":"Ann"}"#] {
        assert!(mail(more).contains("\r\nSubject: Your verification code for A & B\r\n"));
    }
    let arabic = mail(r#","locale":"ar-EG""#);
    assert!(arabic.contains("<html lang=3D\"ar\" dir=3D\"rtl\""), "{arabic}");
}

#[test]
fn the_words_are_set_by_the_environment_too() {
    let binary = Binary::new();
    write(&binary, "eo", "subject.txt", "{{ code }} estas via kodo");
    let mut command = binary.command(&["preview"]);
    command.envs([("OTPD_TEMPLATES", "templates"), ("OTPD_LOCALE", "eo")]);
    let refused = command.output().expect("it runs");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let shown = command.env("OTPD_CODE_IN_SUBJECT", "1").output().expect("it runs");
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(shown.contains("\r\nSubject: 123456 estas via kodo\r\n"), "{shown}");
}

#[test]
fn a_template_that_fails_fails_its_mail_for_good_and_nothing_else() {
    let binary = Binary::new();
    let text = "{{ code }}\n{% if vars.x == \"secret\" %}{{ product|no }}{% endif %}\n";
    write(&binary, "de", "body.txt", text);
    let mut talk = Talk::with(binary.serve(&["--templates", "templates", "--locale", "de"]));
    let issue = |x: &str| {
        format!(r#"{{"cmd":"issue","to":"ann@example.org","vars":{{"x":"{x}","name":"G{x}"}}}}"#)
    };
    let failed = talk.ask(&issue("secret"));
    assert_eq!(field(&failed, "error"), "delivery_failed");
    assert_eq!(field(&failed, "temporary"), "false");
    assert_eq!(field(&talk.ask(&issue("other")), "ok"), "true");
    let (_, status, log) = talk.end();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("template de/body.txt:2: unknown filter"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn a_value_changes_no_header_and_is_taken_for_no_code() {
    let binary = Binary::new();
    write(&binary, "de", "", "");
    let mut talk = Talk::with(binary.serve(&["--templates", "templates", "--locale", "de"]));
    let hostile = [
        "\u{85}Bcc: eve@example.org",
        "\u{2028}123456\u{2028}",
        "=?utf-8?q?=0D=0ABcc:_eve@example.org?=",
        "GHHHHH GHHHHH GJHHHH HGHHHHH",
        &"\u{202e}x".repeat(60),
        &"x".repeat(256),
        "宇 宙",
    ];
    for (number, value) in hostile.iter().enumerate() {
        let to = format!("ann{number}@example.org");
        let issue = format!(
            r#"{{"cmd":"issue","to":"{to}","purpose":"123456","vars":{{"name":"{value}"}}}}"#
        );
        let reply = talk.ask(&issue);
        let message = fs::read_to_string(binary.dir.path().join(field(&reply, "file")));
        let message = message.expect("a message");
        let (head, body) = message.split_once("\r\n\r\n").expect("a head and a body");
        assert!(message.is_ascii() && !message.replace("\r\n", "").contains(['\r', '\n']));
        assert!(message.split("\r\n").all(|line| line.len() <= 76), "{message}");
        let headers = head.split("\r\n").filter(|line| !line.starts_with(' ')).count();
        assert_eq!(headers, 8, "{head}");
        assert!(!head.contains("?q?") && !head.contains("\nBcc"), "{head}");
        let digits = |line: &&str| line.len() > 5 && line.bytes().all(|b| b.is_ascii_digit());
        assert_eq!(body.lines().filter(digits).count(), 1, "{body}");
    }
}

#[test]
fn a_preview_is_the_message_with_a_code_that_is_none() {
    let binary = Binary::new();
    let preview = |args: &[&str]| {
        let output = binary.assert(&["preview"]).args(args).output().expect("it runs");
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code(), said, String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (status, message, _) = preview(&["--product", "Acme", "--digits", "8", "--ttl", "2m"]);
    assert_eq!(status, Some(0));
    assert!(message.starts_with("From: Acme <") && message.ends_with("--\r\n"), "{message}");
    assert_eq!(message.matches("\r\n12345678\r\n").count(), 1);
    assert!(message.contains("It is valid for 2 minutes"));

    write(&binary, "eo", "", "");
    let own =
        ["--templates", "templates", "--locale", "eo", "--var", "name=Ann=B", "--purpose", "x"];
    let (_, message, _) = preview(&own);
    assert!(message.contains("\r\nSubject: Hello Ann=B from otpd\r\n"), "{message}");
    let (status, said, _) = preview(&[&own[..], &["--html", "page.html"]].concat());
    assert_eq!((status, said.as_str()), (Some(0), "page.html\n"));
    let page = fs::read_to_string(binary.dir.path().join("page.html")).expect("a page");
    assert_eq!(page, "<p>Hello Ann=B, <b>123456</b></p>\n<p>x</p>\n");

    for wrong in [
        &["--locale", "eo"][..],
        &["--locale", "zh-TW"],
        &["--var", "x"],
        &["--var", "=x"],
        &["--purpose", "a\nb"],
        &["--to", "nobody"],
        &["--html", "nowhere/page.html"],
        &["--templates", "nowhere"],
    ] {
        let (status, said, why) = preview(wrong);
        assert_eq!((status, said.as_str()), (Some(2), ""), "{wrong:?}");
        assert!(!why.is_empty());
    }
}

#[test]
fn the_templates_of_the_readme_are_good() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("a README");
    let blocks: Vec<&str> = readme.split("```jinja\n").skip(1).collect();
    let [subject, text, html] = blocks[..] else { panic!("three templates") };
    let binary = Binary::new();
    write(&binary, "de", "", "");
    for (file, block) in [("subject.txt", subject), ("body.txt", text), ("body.html", html)] {
        let block = block.split("```").next().expect("a template");
        fs::write(binary.dir.path().join("templates/de").join(file), block).expect("written");
    }
    let args = ["preview", "--templates", "templates", "--locale", "de", "--var", "name=Ann"];
    let output = binary.assert(&args).args(["--product", "Acme"]).assert().success();
    let message = String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8");
    assert!(message.contains("\r\nSubject: Ihr Code von Acme\r\n"), "{message}");
    assert!(message.contains("\r\nGuten Tag Ann,\r\n"), "{message}");
}

/// Reads messages as a strict reader would, and shows what is in them.
const READER: &str = r#"
import email, email.policy, sys
for name in sys.argv[1:]:
    message = email.message_from_binary_file(open(name, "rb"), policy=email.policy.strict)
    for part in message.walk():
        assert not part.defects, part.defects
    text, html = message.iter_parts()
    assert [p.get_content_type() for p in (text, html)] == ["text/plain", "text/html"]
    subject, text, html = message["subject"], text.get_content(), html.get_content()
    assert "Bücher" in subject and "123456" not in subject, subject
    for body in (text, html):
        assert body.count("123456") == 1 and body.count("Bücher") == 2, body
        assert body.count("<über>") + body.count("&lt;über&gt;") == 1, body
        assert body.count("37") == 1, body
    assert text.splitlines().count("123456") == 1, text
print("read", len(sys.argv) - 1)
"#;

#[test]
fn every_language_is_read_by_somebody_elses_reader() {
    if Command::new("python3").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "skipped: there is no python3");
        return;
    }
    let binary = Binary::new();
    for tag in LANGUAGES {
        let args = ["preview", "--locale", tag, "--product", "Bücher", "--ttl", "37m"];
        let output = binary.assert(&args).args(["--purpose", "<über>"]).assert().success();
        fs::write(binary.dir.path().join(tag), &output.get_output().stdout).expect("written");
    }
    let mut python = Command::new("python3");
    python.arg("-c").arg(READER).args(LANGUAGES).current_dir(binary.dir.path());
    let output = python.output().expect("python3");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "read 12\n", "{output:?}");
}
