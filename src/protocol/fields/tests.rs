//! Two readers of each thing, held against each other.

use super::*;

#[test]
fn a_typed_text_is_read_as_any_other() {
    for json in [
        r#""123456""#,
        r#""\u0031\u0032 3-456""#,
        r#""""#,
        r#""\"\\\/é\u00e9""#,
        r#""\ud83d\ude00x""#,
        r#""\ud800""#,
        r#""\ud800x""#,
        r#""\ud800\u0041""#,
        r#""\udc00""#,
        r#""\ud800\ud800""#,
        r#""\n""#,
        r#""\u0000""#,
        r#""\t""#,
        "5",
        "null",
        "true",
        "{}",
        "[]",
    ] {
        let plain = |text: &str| !has_control(text);
        let ours = unescape(json).map(|typed| typed.as_str().to_owned()).filter(|t| plain(t));
        let theirs = string(json).map(Cow::into_owned).filter(|t| plain(t));
        assert_eq!(ours, theirs, "{json}");
    }
}

/// Lines made of pieces that are often at the edge between what is plain and what is not.
#[test]
fn a_plain_line_is_read_as_the_parser_reads_it() {
    let pieces = [
        "{",
        "}",
        ",",
        ":",
        " ",
        "\"",
        "\\",
        "\"cmd\":",
        "\"id\":",
        "\"x\":",
        "\"to\": ",
        "0",
        "7",
        "12",
        "-",
        ".",
        "e1",
        "\"é\"",
        "\"a\"",
        "\t",
        "\u{7f}",
        "null",
        "[]",
        "{\"cmd\":\"a\"",
        ",\"id\":1}",
    ];
    let lines = (0..pieces.len().pow(4)).flat_map(|n| {
        let at = |place: u32| pieces[n / pieces.len().pow(place) % pieces.len()];
        let four = [at(0), at(1), at(2), at(3)].concat();
        [four.clone(), format!("{{{four}}}"), format!("{{\"id\":1,{four}}}")]
    });
    let mut plain = 0;
    for line in lines {
        let Some(ours) = Fields::read_plain(&line) else { continue };
        let mut theirs = Fields::default();
        let mut json = serde_json::Deserializer::from_str(&line);
        assert!(json.deserialize_map(Collect(&mut theirs)).is_ok() && json.end().is_ok(), "{line}");
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{line}");
        plain += 1;
    }
    assert!(plain > 400, "only {plain} lines were plain");
}
