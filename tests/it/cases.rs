//! Hostile input, as one table that grows: a line, and what is answered. Every line is sent to one
//! daemon, one after the other, so that each also shows that the one before did no harm.

use crate::harness::{Binary, World};

/// `field value` pairs that the reply must hold; `none` if there is no reply.
const CASES: &[(&str, &str)] = &[
    // A. Bytes and lines.
    ("", "none"),
    (" \t ", "none"),
    ("{", "error bad_json"),
    ("nonsense", "error bad_json"),
    ("{\"cmd\":\r\"help\"}", "error bad_json"),
    ("\u{feff}{\"cmd\":\"help\"}", "error bad_json"),
    ("{\"cmd\":\"help\"} x", "error bad_json"),
    ("{\"cmd\":\"help\"}{\"cmd\":\"help\"}", "error bad_json"),
    ("{\"cmd\":\"help\"}\u{a0}", "error bad_json"),
    ("\u{0}", "error bad_json"),
    // B. JSON and schema.
    (r#"["verify","S","123456"]"#, "error bad_json"),
    (r#"[{"cmd":"help"},{"cmd":"help"}]"#, "error bad_json"),
    ("null", "error bad_json"),
    (r#"{"cmd":"help","cmd":"help"}"#, "field cmd"),
    (r#"{"cmd":["help"]}"#, "field cmd"),
    (r#"{"cmd":"Help"}"#, "error unknown_command"),
    (r#"{"cmd":"verify\u0000"}"#, "field cmd"),
    (r#"{"cmd":"verify","code":"123456"}"#, "field session"),
    (r#"{"cmd":"verify","session":"S","code":012345}"#, "error bad_json"),
    (r#"{"cmd":"verify","session":"S","code":"\u0031\u0032\u0033456"}"#, "error no_session"),
    (r#"{"cmd":"verify","session":"S","code":{"$gt":""}}"#, "field code"),
    (r#"{"cmd":"verify","session":"S","code":true}"#, "field code"),
    (r#"{"cmd":"verify","session":"S","code":null}"#, "field code"),
    (r#"{"cmd":"verify","session":5,"code":"1"}"#, "field session"),
    (r#"{"cmd":"verify","session":"\ud800","code":"1"}"#, "field session"),
    (r#"{"cmd":"verify","session":"","code":"1"}"#, "error no_session"),
    (r#"{"cmd":"verify","session":"../../etc/passwd","code":"1"}"#, "error no_session"),
    (r#"{"cmd":"issue","to":{"0":"a@x.org"}}"#, "field to"),
    (r#"{"cmd":"issue","to":["a@x.org"]}"#, "field to"),
    (r#"{"cmd":"issue","to":"a@x.org","ttl_s":1e400}"#, "field ttl_s"),
    (r#"{"cmd":"issue","to":"a@x.org","ttl_s":-60}"#, "field ttl_s"),
    (r#"{"cmd":"issue","to":"a@x.org","ttl_s":60.5}"#, "field ttl_s"),
    (r#"{"cmd":"issue","to":"a@x.org","ttl_s":99999999999999999999}"#, "field ttl_s"),
    (r#"{"cmd":"issue","to":"a@x.org","client":"\u001b[2J"}"#, "field client"),
    (r#"{"cmd":"status","session":null}"#, "field session"),
    (r#"{"cmd":"status","id":{"a":1}}"#, "field id"),
    (r#"{"cmd":"cancel"}"#, "field session"),
    (r#"{"cmd":"unlock"}"#, "field to"),
    // C. Addresses.
    (r#"{"cmd":"issue","to":"a@x.org\r\nBcc: e@e.org"}"#, "field to"),
    (r#"{"cmd":"issue","to":"a@x.org,b@y.org"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"a@x.org;b@y.org"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"\"a@b\"@x.org"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"@a,@b:c@d.org"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"a%evil@x.org"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"=?utf-8?q?a=40b?=@x.org"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"a@localhost"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"a@127.0.0.1"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"a@example.org."}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"a@xn--example-.org"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"mıke@example.org"}"#, "error bad_address"),
    (r#"{"cmd":"issue","to":"a@gmаil.com"}"#, "to a@xn--gmil-63d.com"),
    (r#"{"cmd":"issue","to":""}"#, "error bad_address"),
    // D. Codes that are none.
    (
        r#"{"cmd":"verify","session":"00000000000000000000000000000000","code":"0x1069"}"#,
        "error no_session",
    ),
    // E. Sessions that are none.
    (
        r#"{"cmd":"verify","session":"00000000000000000000000000000000","code":"123456"}"#,
        "error no_session",
    ),
    (
        r#"{"cmd":"verify","session":"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv","code":"123456"}"#,
        "error no_session",
    ),
    (r#"{"cmd":"status","session":"VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV"}"#, "error no_session"),
];

/// What must never come back, whatever was wrong.
const VALUES: &[&str] = &["evil", "passwd", "$gt", "nonsense", "Bcc", "[2J"];

#[test]
fn every_case_is_answered_as_it_should_be() {
    let mut world = World::new(&[]);
    for (line, expected) in CASES {
        let reply = world.say(line);
        let Some((field, value)) = expected.split_once(' ') else {
            assert_eq!(reply, "", "{line:?}");
            continue;
        };
        assert_eq!(crate::harness::field(&reply, field), *value, "{line:?}\n{reply}");
        assert!(VALUES.iter().all(|value| !reply.contains(value)), "{line:?}\n{reply}");
    }
}

#[test]
fn the_binary_answers_the_same_bytes_that_are_no_text_too() {
    let binary = Binary::new();
    let mut input = Vec::new();
    for bytes in
        [&b"{\"id\":1,\"cmd\":\"\xff\"}"[..], b"\xc0\x80", b"\xed\xa0\x80", b"{\"a\":\"\xe2\x82"]
    {
        input.extend_from_slice(bytes);
        input.push(b'\n');
    }
    input.extend_from_slice(b"{\"cmd\":\"status\",\"session\":\"x\"}\n");
    let output =
        binary.assert(&["serve", "--outbox", "outbox"]).write_stdin(input).assert().success();
    let told = String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8");
    let words: Vec<String> =
        told.lines().map(|line| crate::harness::field(line, "error")).collect();
    assert_eq!(words, ["bad_json", "bad_json", "bad_json", "bad_json", "no_session"]);
    assert!(told.starts_with("{\"ok\":false,\"id\":1,"));
}

/// A million random lines, most of them nearly right: one reply each (none for blanks), each one
/// JSON object, and nothing panics.
#[test]
fn a_million_random_lines_have_a_reply_each() {
    use otpd::clock::Random;
    let mut world = World::new(&[]);
    let mut random = otpd::simulate::Seeded::new(99);
    let pieces: Vec<&str> = CASES
        .iter()
        .map(|(line, _)| *line)
        .chain([
            r#"{"cmd":"status"}"#,
            r#"{"cmd":"help","about":"locked","id":1}"#,
            r#","id":"x"}"#,
            "\\u0000",
        ])
        .collect();
    let mut out = Vec::new();
    for number in 1..=1_000_000_u64 {
        let mut dice = [0; 8];
        random.fill(&mut dice).expect("seeded");
        let mut line = pieces[usize::from(dice[0]) % pieces.len()].as_bytes().to_vec();
        let other = pieces[usize::from(dice[1]) % pieces.len()].as_bytes();
        let at = usize::from(dice[2]) % (line.len() + 1);
        match dice[3] % 6 {
            0 => line.truncate(at),
            1 => line.splice(at.., other.iter().copied()).for_each(drop),
            2 => line.insert(at, dice[4]),
            3 if at < line.len() => line[at] ^= 1 << (dice[4] % 8),
            _ => {}
        }
        line.retain(|b| *b != b'\n');
        out.clear();
        world.desk.line(&line, number, &mut out);
        let blank = line.iter().all(|b| matches!(b, b' ' | b'\t'));
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), usize::from(!blank));
        if number % 16 == 0 && !blank {
            let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            assert!(json["ok"].is_boolean());
        }
    }
}
