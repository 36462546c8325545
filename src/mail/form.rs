//! A message with blanks: written once by the mail library, with stand-ins where a recipient, a
//! date, an id and a code belong, then filled for each letter.

use std::time::SystemTime;

use lettre::message::header::{
    ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue,
};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use zeroize::Zeroizing;

use super::subject::Subject;
use super::templates::Rendered;

/// Longest line of a body, in characters, without its CRLF (RFC 2045 §6.7).
pub const LINE_MAX: usize = 76;
/// Begins the boundary, so that no body can hold one (RFC 2045 §6.7): quoted-printable writes every
/// `=` as `=3D`, and a body that holds this mark is written as quoted-printable.
pub const BOUNDARY_MARK: &str = "=_";
/// The stand-in for the recipient. `.invalid` can be nobody's (RFC 2606).
const NOBODY: &str = "recipient@otpd.invalid";
/// Stand-ins that are tried. The first one does, unless somebody builds it from several values.
const TRIES_MAX: u64 = 8;
/// A line of quoted-printable that does not end.
const SOFT_BREAK: &[u8] = b"=\r\n";

/// A message with blanks, by their place.
#[derive(Debug)]
pub struct Form {
    bytes: Vec<u8>,
    blanks: Vec<(usize, Blank)>,
}

/// What is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    /// The recipient.
    To,
    /// The date.
    Date,
    /// The id of the message.
    MessageId,
    /// The code.
    Code,
}

impl Form {
    /// Writes a form from what `render` makes with a stand-in for a code of `digits` digits.
    /// `values` are what else stands in it.
    ///
    /// # Errors
    /// A sentence for the operator: the words could not be made, or don't hold the code as they
    /// should.
    pub fn write(
        from: &Mailbox,
        boundary: &str,
        digits: usize,
        values: &[&str],
        render: impl Fn(&str) -> Result<Rendered, String>,
    ) -> Result<Self, String> {
        let free = (0..).map(|number| stand_in(number, digits));
        let free = free.filter(|it| !values.iter().any(|value| value.contains(it)));
        let mut why = String::new();
        for stand_in in free.take(TRIES_MAX as usize) {
            let written = render(&stand_in).and_then(|rendered| {
                let in_subject = rendered.subject.matches(&stand_in).count();
                let bytes = fold_headers(&compose(from, boundary, rendered, &stand_in)?);
                Self::cut_out(&bytes, &stand_in, in_subject)
            });
            match written {
                Ok(form) => return Ok(form),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// Takes the stand-ins out of a message.
    fn cut_out(bytes: &[u8], stand_in: &str, in_subject: usize) -> Result<Self, String> {
        let body = places(bytes, b"\r\n\r\n").first().copied().unwrap_or(0);
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
        let codes = places(bytes, stand_in.as_bytes());
        // Once in each part, and nowhere else: what was not found would not be filled in, and what
        // is something else would be overwritten.
        let in_head = codes.iter().filter(|at| **at < body).count();
        if (in_head, codes.len()) != (in_subject, in_subject + 2) {
            return Err("the code does not stand once in each part of the message".to_owned());
        }
        cuts.extend(codes.iter().map(|at| (*at, stand_in.len(), Blank::Code)));
        Ok(Self::cut(bytes, cuts))
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

    /// The message, with at most `most` more bytes than the form has and as many codes as it has
    /// places for them, of `digits` each.
    pub fn fill(
        &self,
        most: usize,
        digits: usize,
        write: impl Fn(Blank, &mut Vec<u8>),
    ) -> Zeroizing<Vec<u8>> {
        // Large enough from the start: a buffer that grew would leave a copy that nobody wipes.
        let most = most + digits * self.blanks.len();
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
fn compose(
    from: &Mailbox,
    boundary: &str,
    Rendered { subject, text, html }: Rendered,
    stand_in: &str,
) -> Result<Vec<u8>, String> {
    let parts = MultiPart::alternative()
        .boundary(boundary)
        .singlepart(part(ContentType::TEXT_PLAIN, text, stand_in))
        .singlepart(part(ContentType::TEXT_HTML, html, stand_in));
    let nobody = NOBODY.parse().map(|address| Mailbox::new(None, address));
    let message = nobody.ok().and_then(|nobody| {
        lettre::Message::builder()
            .from(from.clone())
            .to(nobody)
            .header(Subject(subject))
            .date(SystemTime::UNIX_EPOCH)
            .message_id(Some(format!("<{NOBODY}>")))
            .header(AutoSubmitted)
            .multipart(parts)
            .ok()
    });
    // Only a missing sender or recipient makes the library refuse, and both are given.
    let mut message = message.ok_or_else(|| "it can't be composed".to_owned())?;
    if let Some(header) = dotted(from) {
        message.headers_mut().insert_raw(header);
    }
    Ok(message.formatted())
}

/// The sender, if its name has dots: in quotes (RFC 5322 §3.4), which the library leaves out there.
fn dotted(from: &Mailbox) -> Option<HeaderValue> {
    let name = from.name.as_ref().filter(|name| name.is_ascii() && name.contains('.'))?;
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    let value = format!("\"{quoted}\" <{}>", from.email);
    let header = HeaderName::new_from_ascii_str("From");
    Some(HeaderValue::dangerous_new_pre_encoded(header, value.clone(), value))
}

/// One part, 7-bit if its lines are short and ASCII, quoted-printable otherwise: both leave the
/// line of the code as it is, for scripts that look for it.
fn part(content_type: ContentType, text: String, stand_in: &str) -> SinglePart {
    let plain = text.is_ascii()
        && !text.contains(BOUNDARY_MARK)
        && text.lines().all(|line| line.len() <= LINE_MAX);
    let seven_bit = match plain {
        true => Body::new_with_encoding(text, ContentTransferEncoding::SevenBit),
        false => Err(text.into_bytes()),
    };
    // The library's own idea of a short line may be shorter than ours.
    let body = seven_bit.unwrap_or_else(|text| {
        let quoted = quoted_around(&String::from_utf8_lossy(&text), stand_in);
        let quoted = without_lone_digits(&quoted);
        Body::dangerous_pre_encoded(quoted, ContentTransferEncoding::QuotedPrintable)
    });
    SinglePart::builder().header(content_type).body(body)
}

/// Quoted-printable that does not break the code in two: if it would, the code gets a line of its
/// own, which a reader joins with those beside it.
fn quoted_around(text: &str, stand_in: &str) -> Vec<u8> {
    let encoded = quoted(text);
    let (before, after) = match text.split_once(stand_in) {
        Some(halves) if places(&encoded, stand_in.as_bytes()).is_empty() => halves,
        _ => return encoded,
    };
    let mut encoded = quoted(before);
    let line = encoded.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if encoded.len() - line == LINE_MAX {
        // A full line has no room for the sign of its break, so the last character moves on.
        let is_code = encoded[encoded.len() - 3] == b'=';
        let at = encoded.len() - if is_code { 3 } else { 1 };
        encoded.splice(at..at, SOFT_BREAK.iter().copied());
    }
    if !before.is_empty() && !before.ends_with('\n') {
        encoded.extend_from_slice(SOFT_BREAK);
    }
    encoded.extend_from_slice(stand_in.as_bytes());
    if !after.is_empty() && !after.starts_with('\n') {
        encoded.extend_from_slice(SOFT_BREAK);
    }
    encoded.extend(quoted(after));
    encoded
}

/// The same text where no break leaves digits on a line that they did not have to themselves:
/// whoever looks for the code before decoding would find them.
fn without_lone_digits(quoted: &[u8]) -> Vec<u8> {
    let mut safe = Vec::with_capacity(quoted.len());
    for line in quoted.split_inclusive(|b| *b == b'\n') {
        let digits = line.strip_suffix(b"\r\n").unwrap_or(line);
        let are_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if are_digits && safe.ends_with(SOFT_BREAK) && digits.len() + 2 <= LINE_MAX {
            safe.extend_from_slice(format!("={:02X}", digits[0]).as_bytes());
            safe.extend_from_slice(&line[1..]);
        } else {
            safe.extend_from_slice(line);
        }
    }
    safe
}

fn quoted(text: &str) -> Vec<u8> {
    let body = Body::new_with_encoding(text.to_owned(), ContentTransferEncoding::QuotedPrintable);
    // Quoted-printable can write anything; the library would give the text back otherwise.
    body.map_or_else(|text| text, Body::into_vec)
}

/// Letters that stand in for a code of `digits` digits: capitals such as no quoted-printable has,
/// whose digits end at `F`. Its first letter comes only once, so that it overlaps neither itself
/// nor a piece of itself beside it.
fn stand_in(mut number: u64, digits: usize) -> String {
    const LETTERS: &[u8; 16] = b"HJKLMNPQRSTVWXYZ";
    let mut text = String::from("G");
    while text.len() < digits {
        text.push(char::from(LETTERS[(number & 15) as usize]));
        number >>= 4;
    }
    text
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

    /// What a reader makes of quoted-printable.
    fn read(quoted: &str) -> String {
        let joined = quoted.replace("=\r\n", "");
        let mut bytes = Vec::new();
        let mut rest = joined.as_bytes();
        while let [first, others @ ..] = rest {
            let (byte, len) = match first {
                b'=' => {
                    let digits = std::str::from_utf8(&others[..2]).expect("digits");
                    (u8::from_str_radix(digits, 16).expect("digits"), 3)
                }
                byte => (*byte, 1),
            };
            bytes.push(byte);
            rest = &rest[len..];
        }
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn no_encoding_breaks_a_code_in_two() {
        for piece in ["x", "é", "= ", "宇"] {
            for before in 0..170 {
                for after in ["", "y", "\n", " ", "=", &"é".repeat(60)] {
                    let text = format!("é\n{}GHHHHH{after}", piece.repeat(before));
                    let encoded = String::from_utf8(quoted_around(&text, "GHHHHH")).expect("ASCII");
                    assert_eq!(encoded.matches("GHHHHH").count(), 1, "{encoded}");
                    assert!(encoded.split("\r\n").all(|line| line.len() <= LINE_MAX), "{encoded}");
                    assert_eq!(read(&encoded), text.replace('\n', "\r\n"));
                }
            }
        }
    }

    #[test]
    fn no_encoding_leaves_digits_alone_on_a_line() {
        for len in 0..160 {
            let text = format!("é\n{} 123456\n123\nGHHHHH\n", "x".repeat(len));
            let encoded = without_lone_digits(&quoted_around(&text, "GHHHHH"));
            let encoded = String::from_utf8(encoded).expect("ASCII");
            assert!(!encoded.lines().any(|line| line == "123456"), "{encoded}");
            assert!(encoded.contains("\r\n123\r\nGHHHHH\r\n"), "{encoded}");
            assert!(encoded.lines().all(|line| line.len() <= LINE_MAX));
            assert_eq!(read(&encoded), text.replace('\n', "\r\n"));
        }
    }

    #[test]
    fn a_stand_in_overlaps_nothing() {
        for number in 0..500 {
            let text = stand_in(number, 8);
            assert_eq!(text.len(), 8);
            assert_eq!(text.rfind('G'), Some(0));
        }
        assert_ne!(stand_in(0, 6), stand_in(1, 6));
    }

    #[test]
    fn words_that_lack_the_code_or_have_too_many_make_no_form() {
        let from = Mailbox::new(None, "a@x.org".parse().expect("an address"));
        let form = |text: &'static str, html: &'static str| {
            Form::write(&from, "=_B", 6, &[], |code| {
                let fill = |text: &str| text.replace('#', code);
                Ok(Rendered { subject: "S".into(), text: fill(text), html: fill(html) })
            })
        };
        assert!(form("#\n", "<p>#</p>").is_ok());
        assert!(form("\n", "<p>#</p>").is_err());
        assert!(form("#\n", "<p>##</p>").is_err());
    }
}
