//! Writes messages from forms.
//!
//! The mail library writes a form once ([`super::form`]). Every message is that form with its
//! blanks filled in. So no code ever passes through buffers that nobody wipes, and a message costs a
//! copy instead of the 7 µs that composing one took (measured; writing it to a file in memory takes
//! about 14). Only messages with values of their own (`vars`) are composed each time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, SystemTime};

use data_encoding::BASE32_NOPAD;

use super::Message;
use super::form::{BOUNDARY_MARK, Blank, Form, LINE_MAX};
use super::templates::{Language, Rendered, Values};
use super::text::Life;
use crate::clock::{Clock, NoRandomness, Random};
use crate::engine::{Extras, Letter, Var};

pub use super::sender::Sender;

/// Forms that are kept. A caller with more purposes and lives than this has them written again.
const FORMS_MAX: usize = 64;
/// Writes messages of one sender.
#[derive(Debug)]
pub struct Composer {
    sender: Sender,
    boundary: String,
    forms: HashMap<FormKey, Form>,
}

/// What makes the text of two messages differ, besides the blanks and `vars`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FormKey {
    language: Language,
    life: Life,
    purpose: Option<Box<str>>,
    digits: usize,
}

/// Why a message could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// There is none for its id, which must be nobody else's.
    NoRandomness,
    /// A template can't be used with the values of this message; a sentence for the operator.
    Template(String),
}

impl From<NoRandomness> for Unwritten {
    fn from(NoRandomness: NoRandomness) -> Self {
        Self::NoRandomness
    }
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
    /// [`Unwritten`]; trying again does not help against a template.
    pub fn compose(
        &mut self,
        letter: &Letter<'_>,
        clock: &dyn Clock,
        random: &mut dyn Random,
    ) -> Result<Message, Unwritten> {
        let blanks = Blanks::new(&self.sender, letter.to, clock, random)?;
        let templates = &self.sender.templates;
        let language = templates.choose(letter.extras.and_then(|it| it.locale.as_deref()));
        let key = FormKey {
            language,
            life: templates.life(language, letter.life),
            purpose: letter.extras.and_then(|extras| extras.purpose.clone()),
            digits: letter.code.digits(),
        };
        let vars = letter.extras.map_or(&[][..], |extras| &extras.vars);
        let code = |bytes: &mut Vec<u8>| letter.code.write(bytes);
        if !vars.is_empty() && templates.uses_vars(language) {
            // Somebody's own values: such a form would serve nobody else, and is not kept.
            let form = write_form(&self.sender, &self.boundary, &key, vars)?;
            return Ok(blanks.fill(&form, key.digits, code));
        }
        if self.forms.len() >= FORMS_MAX && !self.forms.contains_key(&key) {
            self.forms.clear();
        }
        let digits = key.digits;
        let form = match self.forms.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let form = write_form(&self.sender, &self.boundary, place.key(), &[])?;
                place.insert(form)
            }
        };
        Ok(blanks.fill(form, digits, code))
    }

    /// Writes a message with a code that is none, and its page, to be looked at.
    ///
    /// # Errors
    /// [`Unwritten`].
    pub fn sample(
        &self,
        sample: &Sample<'_>,
        clock: &dyn Clock,
        random: &mut dyn Random,
    ) -> Result<(Message, String), Unwritten> {
        let Sample { to, extras, life, code } = *sample;
        let blanks = Blanks::new(&self.sender, to, clock, random)?;
        let templates = &self.sender.templates;
        let language = templates.choose(extras.locale.as_deref());
        let key = FormKey {
            language,
            life: templates.life(language, life),
            purpose: extras.purpose.clone(),
            digits: code.len(),
        };
        let form = write_form(&self.sender, &self.boundary, &key, &extras.vars)?;
        let message =
            blanks.fill(&form, code.len(), |bytes| bytes.extend_from_slice(code.as_bytes()));
        let page = render(&self.sender, &key, &extras.vars, code).map_err(Unwritten::Template)?;
        Ok((message, page.html))
    }
}

/// What a sample speaks of.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The recipient.
    pub to: &'a str,
    /// Purpose, language and values.
    pub extras: &'a Extras,
    /// How long the code would live.
    pub life: Duration,
    /// What is shown as the code.
    pub code: &'a str,
}

/// What is different in every message, besides the code.
struct Blanks<'a> {
    recipient: &'a str,
    token: String,
    to: String,
    date: String,
    message_id: String,
}

impl<'a> Blanks<'a> {
    fn new(
        sender: &Sender,
        recipient: &'a str,
        clock: &dyn Clock,
        random: &mut dyn Random,
    ) -> Result<Self, NoRandomness> {
        let token = token(random)?;
        let domain = sender.from.email.domain();
        let message_id = folded("Message-ID: ", &format!("<{token}@{domain}>"));
        let to = folded("To: ", recipient);
        Ok(Self { recipient, token, to, date: date(clock.wall()), message_id })
    }

    fn fill(self, form: &Form, digits: usize, code: impl Fn(&mut Vec<u8>)) -> Message {
        let most = self.to.len() + self.date.len() + self.message_id.len();
        let bytes = form.fill(most, digits, |blank, bytes| match blank {
            Blank::To => bytes.extend_from_slice(self.to.as_bytes()),
            Blank::Date => bytes.extend_from_slice(self.date.as_bytes()),
            Blank::MessageId => bytes.extend_from_slice(self.message_id.as_bytes()),
            Blank::Code => code(bytes),
        });
        Message::new(self.recipient, &self.token, bytes)
    }
}

fn write_form(
    sender: &Sender,
    boundary: &str,
    key: &FormKey,
    vars: &[Var],
) -> Result<Form, Unwritten> {
    let mut values = vec![sender.product.as_str(), boundary];
    values.extend(key.purpose.as_deref());
    values.extend(vars.iter().map(|(_, value)| &**value));
    let render = |code: &str| render(sender, key, vars, code);
    Form::write(&sender.from, boundary, key.digits, &values, render).map_err(Unwritten::Template)
}

fn render(sender: &Sender, key: &FormKey, vars: &[Var], code: &str) -> Result<Rendered, String> {
    let purpose = key.purpose.as_deref().map(tame);
    let vars: Vec<(&str, Cow<'_, str>)> =
        vars.iter().map(|(name, value)| (&**name, tame(value))).collect();
    let values = Values {
        product: &sender.product,
        purpose: purpose.as_deref(),
        life: key.life,
        code,
        vars: &vars,
    };
    sender.templates.render(key.language, &values)
}

/// A value without what would reach beyond it: line ends other than CR and LF (which are refused
/// before) would let it stand on a line of its own, and marks of direction would turn the words
/// that follow.
fn tame(value: &str) -> Cow<'_, str> {
    let is_end = |c| matches!(c, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !value.contains(|c| is_end(c) || turns(c)) {
        return Cow::Borrowed(value);
    }
    let kept = value.chars().filter(|c| !turns(*c));
    Cow::Owned(kept.map(|c| if is_end(c) { ' ' } else { c }).collect())
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
    // Small letters: a message whose id shouts is taken for spam.
    Ok(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    use crate::address::Address;
    use crate::engine::policy::Policy;
    use crate::engine::{Engine, Issue};
    use crate::mail::sender::PRODUCT_MAX;
    use crate::mail::text::words::LANGUAGES;
    use crate::simulate::{Seeded, StoppedClock};

    /// The message to `to` in English, and the code in it.
    fn written(product: &str, to: &str, purpose: Option<&str>) -> (String, String) {
        written_in("en", product, to, purpose)
    }

    fn written_in(
        locale: &str,
        product: &str,
        to: &str,
        purpose: Option<&str>,
    ) -> (String, String) {
        let mut random = Seeded::new(1);
        let clock = StoppedClock::default();
        let mut engine = Engine::new(Policy::default(), &mut random).expect("an engine");
        let from = Address::parse("no-reply@acme.example").expect("an address");
        let sender = Sender::new(&from, product).expect("a sender");
        let mut composer = Composer::new(sender, &mut random).expect("a composer");
        let extras = Extras {
            purpose: purpose.map(Into::into),
            locale: Some(locale.into()),
            ..Extras::default()
        };
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
                "Message-ID: <ijsabhswdsbnbuhs@acme.example>",
                "Auto-Submitted: auto-generated",
                "MIME-Version: 1.0",
                "Content-Type: multipart/alternative; boundary=\"=_aahp5sd4k5e6yekx\"",
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
                for words in LANGUAGES {
                    let (message, code) = written_in(words.tag, product, "a@x.org", purpose);
                    shape_holds(&message, &code);
                }
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
            let all_digits =
                |line: &&str| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
            for words in LANGUAGES {
                let (message, _) = written_in(words.tag, "Acme", "a@x.org", Some(&purpose));
                assert_eq!(message.lines().filter(all_digits).count(), 1, "{message}");
            }
        }
    }

    #[test]
    fn a_value_stays_in_its_line_and_turns_nothing_around() {
        assert_eq!(tame("Ann O’Neill, 宇宙, \u{5d0}"), "Ann O’Neill, 宇宙, \u{5d0}");
        assert_eq!(tame("a\u{2028}123456\u{2029}\u{85}b"), "a 123456  b");
        assert_eq!(tame("a\u{202e}b\u{2066}c\u{202c}"), "abc");
    }

    #[test]
    fn a_long_recipient_is_folded() {
        let long = format!("{}@{}.example", "a".repeat(64), "b".repeat(63));
        let (message, code) = written("Acme", &long, None);
        shape_holds(&message, &code);
        assert!(message.contains(&format!("\r\nTo: \r\n {long}\r\n")));
    }

    #[test]
    fn a_message_cannot_be_printed() {
        let bytes = Zeroizing::new(b"123456".to_vec());
        let message = Message::new("a@x.org", "TOKEN", bytes);
        assert_eq!(format!("{message:?}"), "Message(TOKEN, [redacted])");
    }
}
