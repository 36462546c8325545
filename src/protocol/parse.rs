//! A line becomes a request.
//!
//! The parser's own error messages repeat what they choke on, so none of them is ever used: a line
//! is first split into fields kept as they were written, and each field is then looked at by itself.

use std::borrow::Cow;
use std::time::Duration;

use super::fields::{Fields, Name, Pairs, bad, has_control, invalid, string};
use super::help::{self, Topic};
use super::{
    ADVANCE_MAX, CLIENT_MAX, DATA_DEPTH_MAX, DATA_MAX, Fault, FieldFault, LOCALE_MAX, PURPOSE_MAX,
    Request, RequestId, VAR_MAX, VAR_NAME_MAX,
};
use crate::address::Address;
use crate::engine::policy::TTL_OVERRIDE_MIN;
use crate::engine::{Extras, Var};

/// What the daemon's configuration says about requests.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The configured life of a code, which `ttl_s` may only shorten.
    pub ttl: Duration,
    /// Whether `advance` is known.
    pub simulated: bool,
}

/// A line, as far as it could be read: its `id` is there whatever is wrong with the rest.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// Its `id`.
    pub id: Option<RequestId<'a>>,
    /// What it asks, or what is wrong with it.
    pub request: Result<Request<'a>, Fault>,
}

/// Reads one line, without its end.
#[must_use]
pub fn parse<'a>(line: &'a [u8], terms: &Terms) -> Parsed<'a> {
    let (fields, whole) = Fields::read(line);
    match (fields.id(), whole) {
        (Ok(id), true) => Parsed { id, request: request(&fields, terms) },
        (Err(fault), true) => Parsed { id: None, request: Err(fault) },
        (id, false) => {
            let id = id.ok().flatten().filter(|id| id.is_whole_in(line));
            Parsed { id, request: Err(Fault::BadJson) }
        }
    }
}

fn request<'a>(fields: &Fields<'a>, terms: &Terms) -> Result<Request<'a>, Fault> {
    let cmd = match (fields.text(Name::Cmd)?, &fields.fault) {
        (Some(cmd), _) => cmd,
        (None, Some((field, why))) => {
            return Err(Fault::BadField { field: field.clone(), why: *why });
        }
        (None, None) => return Err(bad(Name::Cmd, FieldFault::Missing)),
    };
    let command = help::command(&cmd).ok_or(Fault::UnknownCommand)?;
    if command.name == "advance" && !terms.simulated {
        return Err(Fault::UnknownCommand);
    }
    fields.check_names(command)?;
    Ok(match command.name {
        "issue" => issue(fields, terms)?,
        "verify" => Request::Verify {
            session: fields.required(Name::Session)?,
            code: fields.typed(Name::Code)?,
            purpose: fields.bounded(Name::Purpose, PURPOSE_MAX)?,
        },
        "resend" => Request::Resend { session: fields.required(Name::Session)? },
        "cancel" => Request::Cancel { session: fields.required(Name::Session)? },
        "status" => Request::Status { session: fields.text(Name::Session)? },
        "unlock" => Request::Unlock { to: address(fields)? },
        "help" => Request::Help { about: topic(fields)? },
        "advance" => {
            let seconds = fields.integer(Name::Seconds)?;
            let seconds = seconds.ok_or_else(|| bad(Name::Seconds, FieldFault::Missing))?;
            let in_range = (1..=ADVANCE_MAX).contains(&seconds);
            Request::Advance {
                seconds: in_range.then_some(seconds).ok_or_else(|| invalid(Name::Seconds))?,
            }
        }
        _ => return Err(Fault::UnknownCommand),
    })
}

/// Every field is looked at before the address is, so that `bad_field` comes before `bad_address`.
fn issue<'a>(fields: &Fields<'a>, terms: &Terms) -> Result<Request<'a>, Fault> {
    let purpose = fields.bounded(Name::Purpose, PURPOSE_MAX)?;
    let locale = fields.bounded(Name::Locale, LOCALE_MAX)?;
    if locale.as_deref().is_some_and(|tag| oxilangtag::LanguageTag::parse(tag).is_err()) {
        return Err(invalid(Name::Locale));
    }
    let ttl = fields.integer(Name::Ttl)?.map(Duration::from_secs);
    if ttl.is_some_and(|ttl| ttl < TTL_OVERRIDE_MIN || ttl > terms.ttl) {
        return Err(invalid(Name::Ttl));
    }
    let data = fields.at(Name::Data);
    if data.is_some_and(|data| data.len() > DATA_MAX || depth(data) > DATA_DEPTH_MAX) {
        return Err(invalid(Name::Data));
    }
    let client = fields.bounded(Name::Client, CLIENT_MAX)?;
    let vars = fields.at(Name::Vars).map(vars).transpose()?.unwrap_or_default();
    let to = address(fields)?;
    let plain = purpose.is_none() && locale.is_none() && data.is_none() && vars.is_empty();
    let extras = (!plain).then(|| {
        let boxed = |text: Cow<'_, str>| text.into_owned().into_boxed_str();
        Box::new(Extras {
            purpose: purpose.map(boxed),
            locale: locale.map(boxed),
            data: data.map(Into::into),
            vars,
        })
    });
    Ok(Request::Issue { to, ttl, client, extras })
}

fn address(fields: &Fields<'_>) -> Result<Address, Fault> {
    Address::parse(&fields.required(Name::To)?).map_err(|_| Fault::BadAddress)
}

fn topic(fields: &Fields<'_>) -> Result<Option<Topic>, Fault> {
    let about = fields.text(Name::About)?;
    about.map(|name| Topic::find(&name).ok_or_else(|| invalid(Name::About))).transpose()
}

fn vars(raw: &str) -> Result<Vec<Var>, Fault> {
    let pairs: Pairs<'_> = serde_json::from_str(raw).map_err(|_| invalid(Name::Vars))?;
    let mut vars: Vec<Var> = Vec::new();
    for (name, value) in pairs.0 {
        let value = string(value).filter(|value| value.len() <= VAR_MAX && !has_control(value));
        let value = value.ok_or_else(|| invalid(Name::Vars))?;
        let fits = (1..=VAR_NAME_MAX).contains(&name.len()) && !has_control(&name);
        if !fits || vars.iter().any(|(known, _)| **known == *name) {
            return Err(invalid(Name::Vars));
        }
        vars.push((name.into(), value.into()));
    }
    Ok(vars)
}

/// How deep arrays and objects lie in each other, in a text that is JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { ttl: Duration::from_secs(600), simulated: false };

    /// What a line comes to: its id, and the fault in a word, or `ok`.
    fn told(line: &str) -> (Option<String>, String) {
        let parsed = parse(line.as_bytes(), &TERMS);
        let told = match &parsed.request {
            Ok(_) => "ok".to_owned(),
            Err(Fault::BadField { field, why }) => format!("{why:?} {field}"),
            Err(fault) => format!("{fault:?}"),
        };
        (parsed.id.map(|id| id.as_json().to_owned()), told)
    }

    fn fault(line: &str) -> String {
        told(line).1
    }

    #[test]
    fn an_id_is_read_whatever_is_wrong_with_the_rest() {
        let id = |line| told(line).0;
        assert_eq!(id(r#"{"id":"a\u0062","cmd":"help"}"#).as_deref(), Some(r#""a\u0062""#));
        assert_eq!(id(r#"{"cmd":5,"id":7}"#).as_deref(), Some("7"));
        assert_eq!(id(r#"{"id":7,"cmd":"frob"}"#).as_deref(), Some("7"));
        assert_eq!(id(r#"{"id":7,"cmd":oops}"#).as_deref(), Some("7"));
        assert_eq!(id(r#"{"id":7} {"id":8}"#).as_deref(), Some("7"));
        assert_eq!(
            id(r#"{"x":1,"x":2,"id":-9007199254740992}"#).as_deref(),
            Some("-9007199254740992")
        );
        assert_eq!(id(r#"[{"id":7}]"#), None);
        let bytes = b"{\"id\":7,\"cmd\":\"\xff\"}";
        assert!(parse(bytes, &TERMS).id.is_some());
    }

    #[test]
    fn an_id_that_is_none_is_refused_before_anything_else() {
        let long = format!(r#"{{"id":"{}","cmd":"frob"}}"#, "x".repeat(129));
        for line in [
            r#"{"id":1.0,"cmd":"frob"}"#,
            r#"{"id":1e3,"cmd":"help"}"#,
            r#"{"id":9007199254740993,"cmd":"help"}"#,
            r#"{"id":null,"cmd":"help"}"#,
            r#"{"id":{},"cmd":"help"}"#,
            r#"{"id":"\n","cmd":"help"}"#,
            r#"{"id":"\ud800","cmd":"help"}"#,
            &long,
        ] {
            assert_eq!(told(line), (None, "Invalid id".to_owned()), "{line}");
        }
        assert_eq!(told(r#"{"id":1,"cmd":"help","id":1}"#), (None, "Doubled id".to_owned()));
    }

    #[test]
    fn an_id_that_may_be_cut_is_not_given_back() {
        let lines = [
            r#"{"id":12"#,
            r#"{"id":12abc}"#,
            r#"{"id":1.5.5}"#,
            r#"{"id":{},x"#,
            r#"{"id":1,"id":2,"#,
        ];
        for line in lines {
            assert_eq!(told(line), (None, "BadJson".to_owned()), "{line}");
        }
        assert!(parse(b"{\"id\":12\xff34}", &TERMS).id.is_none());
        for line in [r#"{"id":12,"#, r#"{"id":12 x"#, r#"{"id":12}}"#, r#"{"id":"12""#] {
            assert!(told(line).0.is_some(), "{line}");
        }
    }

    #[test]
    fn only_one_whole_object_is_json() {
        for line in [
            "",
            "x",
            "{",
            "{}}",
            "[]",
            "null",
            "5",
            "\"x\"",
            r#"{"cmd":"help"}{"cmd":"help"}"#,
            r#"{"cmd":"help",}"#,
            r#"{"cmd":'help'}"#,
            r#"{"code":012345}"#,
            r#"{"cmd":NaN}"#,
            "{\"cmd\":\r\"help\"}",
            "{\"cmd\":\"he\tlp\"}",
            "\u{feff}{\"cmd\":\"help\"}",
            r#"{"cmd":"\x"}"#,
            r#"["verify","S","123456"]"#,
            r#"[{"cmd":"help"}]"#,
        ] {
            assert_eq!(fault(line), "BadJson", "{line:?}");
        }
        for bytes in [
            &b"{\"cmd\":\"\xc0\x80\"}"[..],
            b"{\"cmd\":\"\xed\xa0\x80\"}",
            b"{\"cmd\":\"help\"}\xe2\x82",
        ] {
            assert!(matches!(parse(bytes, &TERMS).request, Err(Fault::BadJson)));
        }
    }

    #[test]
    fn a_field_that_cannot_be_taken_is_named() {
        let issue = |rest: &str| fault(&format!(r#"{{"cmd":"issue","to":"a@x.org"{rest}}}"#));
        assert_eq!(issue(""), "ok");
        for (rest, told) in [
            (r#","emial":1"#, "Unknown emial"),
            (r#","code":"1""#, "Unknown code"),
            (r#","to":"b@x.org""#, "Doubled to"),
            (r#","cmd":"issue""#, "Doubled cmd"),
            (r#","purpose":"""#, "Invalid purpose"),
            (r#","purpose":null"#, "Invalid purpose"),
            (r#","purpose":"\u007f""#, "Invalid purpose"),
            (r#","locale":"de_AT""#, "Invalid locale"),
            (r#","locale":"""#, "Invalid locale"),
            (r#","ttl_s":29"#, "Invalid ttl_s"),
            (r#","ttl_s":601"#, "Invalid ttl_s"),
            (r#","ttl_s":-1"#, "Invalid ttl_s"),
            (r#","ttl_s":60.0"#, "Invalid ttl_s"),
            (r#","ttl_s":"60""#, "Invalid ttl_s"),
            (r#","ttl_s":1e400"#, "Invalid ttl_s"),
            (r#","client":"""#, "Invalid client"),
            (r#","client":["a"]"#, "Invalid client"),
            (r#","vars":[]"#, "Invalid vars"),
            (r#","vars":{"a":1}"#, "Invalid vars"),
            (r#","vars":{"a":"1","a":"2"}"#, "Invalid vars"),
            (r#","vars":{"":"1"}"#, "Invalid vars"),
            (r#","vars":{"a":"\n"}"#, "Invalid vars"),
        ] {
            assert_eq!(issue(rest), told, "{rest}");
        }
        assert_eq!(fault(r#"{"cmd":"verify","session":5,"code":"1"}"#), "Invalid session");
        assert_eq!(fault(r#"{"cmd":"verify","session":"S"}"#), "Missing code");
        assert_eq!(fault(r#"{"cmd":"verify","session":"S","code":null}"#), "Invalid code");
        assert_eq!(fault(r#"{"cmd":"verify","session":"S","code":{"$gt":""}}"#), "Invalid code");
        assert_eq!(fault(r#"{"cmd":"issue"}"#), "Missing to");
        assert_eq!(fault(r#"{"cmd":"issue","to":["a@x.org","b@x.org"]}"#), "Invalid to");
        assert_eq!(fault(r#"{"cmd":"issue","to":"a@x.org\r\nBcc: b@x.org"}"#), "Invalid to");
        assert_eq!(fault(r#"{"to":"a@x.org"}"#), "Missing cmd");
        assert_eq!(fault(r#"{"CMD":"help"}"#), "Unknown CMD");
        assert_eq!(fault(r#"{"cmd":null}"#), "Invalid cmd");
        assert_eq!(fault(r#"{"cmd":"help","about":"nothing"}"#), "Invalid about");
        assert_eq!(
            fault(&format!(r#"{{"cmd":"help","{}":1}}"#, "é".repeat(40))),
            format!("Unknown {}", "é".repeat(32))
        );
    }

    #[test]
    fn bounds_are_inside() {
        let issue = |rest: &str| fault(&format!(r#"{{"cmd":"issue","to":"a@x.org",{rest}}}"#));
        let text = |field: &str, len: usize| issue(&format!(r#""{field}":"{}""#, "x".repeat(len)));
        assert_eq!(
            (text("purpose", 64), text("purpose", 65)),
            ("ok".into(), "Invalid purpose".into())
        );
        assert_eq!(
            (text("client", 128), text("client", 129)),
            ("ok".into(), "Invalid client".into())
        );
        assert_eq!(
            (text("data", 1_022), text("data", 1_023)),
            ("ok".into(), "Invalid data".into())
        );
        let deep = |levels: usize| {
            issue(&format!(r#""data":{}{}"#, "[".repeat(levels), "]".repeat(levels)))
        };
        assert_eq!((deep(64), deep(65)), ("ok".into(), "Invalid data".into()));
        assert_eq!(issue(r#""data":"[[[[[\"[[""#), "ok");
        let vars = |count: usize, len: usize| {
            let pairs: Vec<String> =
                (0..count).map(|n| format!(r#""v{n}":"{}""#, "x".repeat(len))).collect();
            issue(&format!(r#""vars":{{{}}}"#, pairs.join(",")))
        };
        assert_eq!(
            (vars(16, 256), vars(17, 1), vars(1, 257)),
            ("ok".into(), "Invalid vars".into(), "Invalid vars".into())
        );
        assert_eq!((issue(r#""ttl_s":30"#), issue(r#""ttl_s":600"#)), ("ok".into(), "ok".into()));
    }

    #[test]
    fn data_is_kept_as_it_was_written() {
        let data = r#"{"b":1.50e+400, "a":[null,"\u00e9\ud800"],"a":12345678901234567890}"#;
        let line = format!(r#"{{"cmd":"issue","to":"a@x.org","data": {data} }}"#);
        let parsed = parse(line.as_bytes(), &TERMS);
        let Ok(Request::Issue { extras: Some(extras), .. }) = parsed.request else {
            panic!("an issue with extras")
        };
        assert_eq!(extras.data.as_deref(), Some(data));
    }

    #[test]
    fn what_is_no_address_comes_after_every_field() {
        assert_eq!(fault(r#"{"cmd":"issue","to":"nobody"}"#), "BadAddress");
        assert_eq!(fault(r#"{"cmd":"issue","to":"nobody","ttl_s":1}"#), "Invalid ttl_s");
        assert_eq!(fault(r#"{"cmd":"unlock","to":"a@localhost"}"#), "BadAddress");
    }

    #[test]
    fn advance_is_unknown_outside_the_simulated_world() {
        let line = br#"{"cmd":"advance","seconds":1}"#;
        assert!(matches!(parse(line, &TERMS).request, Err(Fault::UnknownCommand)));
        let simulated = Terms { simulated: true, ..TERMS };
        assert!(matches!(parse(line, &simulated).request, Ok(Request::Advance { seconds: 1 })));
        for seconds in ["0", "31536001", "-1", "1.5", "\"1\""] {
            let line = format!(r#"{{"cmd":"advance","seconds":{seconds}}}"#);
            assert!(parse(line.as_bytes(), &simulated).request.is_err());
        }
    }

    #[test]
    fn a_typed_code_cannot_be_printed() {
        let parsed = parse(br#"{"cmd":"verify","session":"S","code":"123456"}"#, &TERMS);
        assert!(!format!("{parsed:?}").contains("123456"));
    }
}
