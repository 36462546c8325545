//! Writes messages from forms.
//!
//! The mail library writes a form once: the whole message with stand-ins where a recipient, a date,
//! an id and a code belong. Every message is that form with its blanks filled in. So no code ever
//! passes through buffers that nobody wipes, and a message costs a copy instead of the 7 µs that
//! composing one took (measured; writing it to a file in memory takes about 14).

use std::collections::HashMap;
use std::time::SystemTime;

use data_encoding::BASE32_NOPAD;
use lettre::message::header::{
    ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue,
};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use zeroize::Zeroizing;

use super::Message;
use super::text::{self, Facts};
use crate::address::Address;
use crate::clock::{Clock, NoRandomness, Random};
use crate::engine::Letter;

/// Longest line of a body, in characters, without its CRLF (RFC 2045 §6.7).
const LINE_MAX: usize = 76;
/// Forms that are kept. A caller with more purposes and lives than this has them written again.
const FORMS_MAX: usize = 64;
/// Longest name of a product, in bytes: it must fit a subject and read well.
pub const PRODUCT_MAX: usize = 100;
/// The stand-in for the recipient. `.invalid` can be nobody's (RFC 2606).
const NOBODY: &str = "recipient@otpd.invalid";
/// Begins the boundary, so that no body can hold one (RFC 2045 §6.7): quoted-printable writes every
/// `=` as `=3D`, and a body that holds this mark is written as quoted-printable.
const BOUNDARY_MARK: &str = "=_";

/// Who sends the messages.
#[derive(Clone, Debug)]
pub struct Sender {
    from: Mailbox,
    product: String,
}

impl Sender {
    /// The sender `product <from>`.
    ///
    /// # Errors
    /// A sentence, if the product's name can't stand in a header: empty, over [`PRODUCT_MAX`]
    /// bytes, with control characters or the beginning of an encoded word.
    pub fn new(from: &Address, product: &str) -> Result<Self, String> {
        let is_neat = product.split(' ').all(|word| !word.is_empty());
        let fits = product.len() <= PRODUCT_MAX && !product.chars().any(char::is_control);
        if !is_neat || !fits || product.contains("=?") {
            return Err(format!(
                "the product's name must be 1 to {PRODUCT_MAX} bytes, without control characters, \
                 `=?`, and blanks at its ends or beside each other"
            ));
        }
        let address = from.as_str().parse().map_err(|_| "`--from` is not an address".to_owned())?;
        Ok(Self {
            from: Mailbox::new(Some(product.to_owned()), address),
            product: product.to_owned(),
        })
    }
}

/// Writes messages of one sender.
#[derive(Debug)]
pub struct Composer {
    sender: Sender,
    boundary: String,
    forms: HashMap<FormKey, Form>,
}

/// What makes the text of two messages differ, besides the blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct FormKey {
    life: String,
    purpose: Option<Box<str>>,
    digits: usize,
}

/// A message with blanks, by their place.
#[derive(Debug)]
struct Form {
    bytes: Vec<u8>,
    blanks: Vec<(usize, Blank)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blank {
    To,
    Date,
    MessageId,
    Code,
}

impl Composer {
    /// A composer with a boundary of its own.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new(sender: Sender, random: &mut dyn Random) -> Result<Self, NoRandomness> {
        let boundary = format!("{BOUNDARY_MARK}{}", token(random)?);
        Ok(Self { sender, boundary, forms: HashMap::new() })
    }

    /// Writes the message of a letter.
    ///
    /// # Errors
    /// [`NoRandomness`], since its id must be nobody else's.
    pub fn compose(
        &mut self,
        letter: &Letter<'_>,
        clock: &dyn Clock,
        random: &mut dyn Random,
    ) -> Result<Message, NoRandomness> {
        let token = token(random)?;
        let domain = self.sender.from.email.domain();
        let message_id = folded("Message-ID: ", &format!("<{token}@{domain}>"));
        let date = date(clock.wall());
        let to = folded("To: ", letter.to);
        let key = FormKey {
            life: text::life(letter.life),
            purpose: letter.extras.and_then(|extras| extras.purpose.clone()),
            digits: letter.code.digits(),
        };
        if self.forms.len() >= FORMS_MAX && !self.forms.contains_key(&key) {
            self.forms.clear();
        }
        let (sender, boundary) = (&self.sender, &self.boundary);
        let form =
            self.forms.entry(key).or_insert_with_key(|key| Form::write(sender, boundary, key));
        let most = to.len() + date.len() + message_id.len() + 2 * letter.code.digits();
        let bytes = form.fill(most, |blank, bytes| match blank {
            Blank::To => bytes.extend_from_slice(to.as_bytes()),
            Blank::Date => bytes.extend_from_slice(date.as_bytes()),
            Blank::MessageId => bytes.extend_from_slice(message_id.as_bytes()),
            Blank::Code => letter.code.write(bytes),
        });
        Ok(Message { to: letter.to.to_owned(), token, bytes })
    }
}

impl Form {
    fn write(sender: &Sender, boundary: &str, key: &FormKey) -> Self {
        let stand_in = stand_in(key, &[&sender.product, boundary]);
        let bytes = fold_headers(&compose(sender, boundary, key, &stand_in));
        let body = places(&bytes, b"\r\n\r\n").first().copied().unwrap_or(0);
        let header = |blank, name: &str| {
            let start = places(&bytes[..body], format!("\r\n{name}: ").as_bytes());
            let at = start.first().map_or(0, |start| start + name.len() + 4);
            let len = bytes[at..].windows(2).position(|pair| pair == b"\r\n").unwrap_or(0);
            (at, len, blank)
        };
        let mut cuts = vec![
            header(Blank::To, "To"),
            header(Blank::Date, "Date"),
            header(Blank::MessageId, "Message-ID"),
        ];
        let codes = places(&bytes[body..], stand_in.as_bytes());
        cuts.extend(codes.iter().map(|at| (body + at, key.digits, Blank::Code)));
        Self::cut(&bytes, cuts)
    }

    fn cut(bytes: &[u8], mut cuts: Vec<(usize, usize, Blank)>) -> Self {
        cuts.sort_by_key(|(at, ..)| *at);
        let mut form = Self { bytes: Vec::with_capacity(bytes.len()), blanks: Vec::new() };
        let mut done = 0;
        for (at, len, blank) in cuts {
            form.bytes.extend_from_slice(&bytes[done..at]);
            form.blanks.push((form.bytes.len(), blank));
            done = at + len;
        }
        form.bytes.extend_from_slice(&bytes[done..]);
        form
    }

    /// The message, with `most` more bytes than the form has.
    fn fill(&self, most: usize, write: impl Fn(Blank, &mut Vec<u8>)) -> Zeroizing<Vec<u8>> {
        // Large enough from the start: a buffer that grew would leave a copy that nobody wipes.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.bytes.len() + most));
        let mut done = 0;
        for (at, blank) in &self.blanks {
            bytes.extend_from_slice(&self.bytes[done..*at]);
            write(*blank, &mut bytes);
            done = *at;
        }
        bytes.extend_from_slice(&self.bytes[done..]);
        bytes
    }
}

/// The whole message, by the mail library, with stand-ins for the blanks.
fn compose(sender: &Sender, boundary: &str, key: &FormKey, stand_in: &str) -> Vec<u8> {
    let facts = Facts {
        product: &sender.product,
        purpose: key.purpose.as_deref(),
        life: &key.life,
        code: stand_in,
    };
    let parts = MultiPart::alternative()
        .boundary(boundary)
        .singlepart(part(ContentType::TEXT_PLAIN, text::plain(&facts)))
        .singlepart(part(ContentType::TEXT_HTML, text::html(&facts)));
    let nobody = NOBODY.parse().map(|address| Mailbox::new(None, address));
    let message = nobody.ok().and_then(|nobody| {
        lettre::Message::builder()
            .from(sender.from.clone())
            .to(nobody)
            .subject(text::subject(&sender.product))
            .date(SystemTime::UNIX_EPOCH)
            .message_id(Some(format!("<{NOBODY}>")))
            .header(AutoSubmitted)
            .multipart(parts)
            .ok()
    });
    // Only a missing sender or recipient makes the library refuse, and both are given.
    message.map(|message| message.formatted()).unwrap_or_default()
}

/// One part, 7-bit if its lines are short and ASCII, quoted-printable otherwise: both leave the
/// line of the code as it is, for scripts that look for it.
fn part(content_type: ContentType, text: String) -> SinglePart {
    let plain = text.is_ascii()
        && !text.contains(BOUNDARY_MARK)
        && text.lines().all(|line| line.len() <= LINE_MAX);
    let seven_bit = match plain {
        true => Body::new_with_encoding(text, ContentTransferEncoding::SevenBit),
        false => Err(text.into_bytes()),
    };
    // The library's own idea of a short line may be shorter than ours.
    let body = seven_bit.unwrap_or_else(|text| {
        let text = String::from_utf8_lossy(&text).into_owned();
        let quoted = Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable);
        quoted.unwrap_or_else(Body::new)
    });
    SinglePart::builder().header(content_type).body(body)
}

/// Letters that stand in for a code of the same length and occur nowhere else in the body: not in
/// `texts`, not in our words (which have no such run of capitals), not in quoted-printable (whose
/// digits end at `F`).
fn stand_in(key: &FormKey, texts: &[&str]) -> String {
    const LETTERS: &[u8; 16] = b"GHJKLMNPQRSTVWXY";
    let mut number = 0_u64;
    loop {
        let letter = |place| char::from(LETTERS[usize::from((number >> (4 * place)) as u8 & 15)]);
        let candidate: String = (0..key.digits).map(letter).collect();
        let purpose = key.purpose.as_deref().unwrap_or_default();
        if !texts.iter().any(|text| text.contains(&candidate)) && !purpose.contains(&candidate) {
            return candidate;
        }
        number += 1;
    }
}

fn places(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, what).collect()
}

/// Breaks header lines that are too long at their last blank that fits (RFC 5322 §2.2.3; RFC 2047
/// §2 asks for 76 characters). The mail library leaves a sender's name and address on one line.
fn fold_headers(message: &[u8]) -> Vec<u8> {
    let head = places(message, b"\r\n\r\n").first().copied().unwrap_or(0);
    let mut folded = Vec::with_capacity(message.len() + 64);
    for line in message[..head].split_inclusive(|b| *b == b'\n') {
        let mut rest = line;
        while rest.len() > LINE_MAX + 2 {
            // The first byte of a continued line is a blank, at which nothing is gained.
            let fits = rest[1..=LINE_MAX].iter().rposition(|b| *b == b' ').map(|at| at + 1);
            let later = || rest[1..].iter().position(|b| *b == b' ').map(|at| at + 1);
            let Some(at) = fits.or_else(later) else { break };
            folded.extend_from_slice(&rest[..at]);
            folded.extend_from_slice(b"\r\n");
            rest = &rest[at..];
        }
        folded.extend_from_slice(rest);
    }
    folded.extend_from_slice(&message[head..]);
    folded
}

/// A header's value, on a line of its own if it would not fit the first (RFC 5322 §2.1.1).
fn folded(name: &str, value: &str) -> String {
    match name.len() + value.len() <= LINE_MAX {
        true => value.to_owned(),
        false => format!("\r\n {value}"),
    }
}

fn date(wall: SystemTime) -> String {
    httpdate::fmt_http_date(wall).replace("GMT", "+0000")
}

/// A random word of 16 letters and digits (80 bits).
fn token(random: &mut dyn Random) -> Result<String, NoRandomness> {
    let mut bytes = [0; 10];
    random.fill(&mut bytes)?;
    Ok(BASE32_NOPAD.encode(&bytes))
}

/// `Auto-Submitted: auto-generated` (RFC 3834): no out-of-office notes, please.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Extras;
    use crate::engine::policy::Policy;
    use crate::engine::{Engine, Issue};
    use crate::simulate::{Seeded, StoppedClock};

    /// The message to `to`, and the code in it as its marked line tells it.
    fn written(product: &str, to: &str, purpose: Option<&str>) -> (String, String) {
        let mut random = Seeded::new(1);
        let clock = StoppedClock::default();
        let mut engine = Engine::new(Policy::default(), &mut random).expect("an engine");
        let from = Address::parse("no-reply@acme.example").expect("an address");
        let sender = Sender::new(&from, product).expect("a sender");
        let mut composer = Composer::new(sender, &mut random).expect("a composer");
        let extras = Extras { purpose: purpose.map(Into::into), ..Extras::default() };
        let to = Address::parse(to).expect("an address");
        let issue = Issue { to, ttl: None, client: None, extras: Some(Box::new(extras)) };
        let letter = engine.issue(issue, clock.now(), &mut random).expect("a letter");
        let mut code = Vec::new();
        letter.code.write(&mut code);
        let code = String::from_utf8(code).expect("digits");
        let message = composer.compose(&letter, &clock, &mut random).expect("a message");
        (String::from_utf8(message.bytes.to_vec()).expect("ASCII"), code)
    }

    fn shape_holds(message: &str, code: &str) {
        let (head, body) = message.split_once("\r\n\r\n").expect("a header and a body");
        assert!(message.is_ascii());
        assert!(!message.replace("\r\n", "").contains(['\r', '\n']));
        assert!(body.split("\r\n").all(|line| line.len() <= LINE_MAX), "{body}");
        assert!(!head.contains(code));
        let unfoldable = |line: &str| !line[1..].contains(' ');
        assert!(
            head.split("\r\n").all(|line| line.len() <= LINE_MAX || unfoldable(line)),
            "{head}"
        );
        assert_eq!(body.matches(code).count(), 2);
        assert_eq!(body.split("\r\n").filter(|line| *line == code).count(), 1);
        assert!(!message.contains("otpd.invalid"));
    }

    #[test]
    fn a_message_has_the_form_it_should_have() {
        let (message, code) = written("Acme", "Ann@Example.org", None);
        shape_holds(&message, &code);
        let head: Vec<&str> = message.split("\r\n").take(8).collect();
        assert_eq!(
            head,
            [
                "From: Acme <no-reply@acme.example>",
                "To: Ann@Example.org",
                "Subject: Your verification code for Acme",
                "Date: Thu, 01 Jan 2026 00:00:00 +0000",
                "Message-ID: <IJSABHSWDSBNBUHS@acme.example>",
                "Auto-Submitted: auto-generated",
                "MIME-Version: 1.0",
                "Content-Type: multipart/alternative; boundary=\"=_AAHP5SD4K5E6YEKX\"",
            ]
        );
        assert!(message.contains("It is valid for 10 minutes and works once."));
    }

    #[test]
    fn whatever_the_names_are_the_form_holds() {
        let long = "x".repeat(PRODUCT_MAX);
        let wide = "宇".repeat(33);
        for product in
            ["Bücher & Söhne", "=_x", ".", &long, &wide, "GGGGGG HGGGGG", "a \" b, c <d>"]
        {
            for purpose in
                [None, Some("GGGGGG"), Some("überweisung --=_KAVN <b>"), Some(&long[..64])]
            {
                let (message, code) = written(product, "a@x.org", purpose);
                shape_holds(&message, &code);
            }
        }
    }

    #[test]
    fn names_of_any_length_keep_the_form() {
        for len in 1..=PRODUCT_MAX {
            let (message, code) = written(&"x".repeat(len), "a@x.org", None);
            shape_holds(&message, &code);
        }
        for len in 1..=64 {
            let (message, code) = written("Acme", "a@x.org", Some(&"x".repeat(len)));
            shape_holds(&message, &code);
            let (message, code) =
                written("Acme", "a@x.org", Some(&format!("é{}", "7".repeat(len - 1))));
            shape_holds(&message, &code);
        }
    }

    #[test]
    fn a_purpose_can_not_pass_for_a_code() {
        for blanks in 0..40 {
            let purpose = format!("é{}123456", "x".repeat(blanks));
            let (message, _) = written("Acme", "a@x.org", Some(&purpose));
            let all_digits =
                |line: &&str| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
            assert_eq!(message.lines().filter(all_digits).count(), 1, "{message}");
        }
    }

    #[test]
    fn a_long_recipient_is_folded() {
        let long = format!("{}@{}.example", "a".repeat(64), "b".repeat(63));
        let (message, code) = written("Acme", &long, None);
        shape_holds(&message, &code);
        assert!(message.contains(&format!("\r\nTo: \r\n {long}\r\n")));
    }

    #[test]
    fn names_that_would_break_a_header_are_refused() {
        let from = Address::parse("a@x.org").expect("an address");
        let long = "x".repeat(PRODUCT_MAX + 1);
        for name in
            ["", " ", " a", "a ", "a  b", "a\r\nBcc: b@x.org", "a\0", "=?utf-8?q?a?=", &long]
        {
            assert!(Sender::new(&from, name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_mail_library_takes_every_address_that_we_take() {
        for text in
            ["a@example.org", "#$&'*+-/?=^_{|}~@a.b", "A+b@xn--bcher-kva.example", "a@ab--cd.de"]
        {
            assert!(Address::parse(text).is_ok());
            assert!(text.parse::<lettre::Address>().is_ok(), "{text}");
        }
    }

    #[test]
    fn a_message_cannot_be_printed() {
        let bytes = Zeroizing::new(b"123456".to_vec());
        let message = Message { to: "a@x.org".into(), token: "TOKEN".into(), bytes };
        assert_eq!(format!("{message:?}"), "Message(TOKEN, [redacted])");
    }
}
