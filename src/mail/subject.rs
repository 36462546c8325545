//! The subject as a header: one logical line of ASCII, folded, whatever the words are.
//!
//! The mail library leaves ASCII alone, also what looks like an encoded word (RFC 2047) and would
//! be read as something else. Here whatever is not plainly itself is encoded, so that a reader
//! shows exactly the words that were written.

use data_encoding::BASE64;
use lettre::message::header::{Header, HeaderName, HeaderValue};

use super::form::LINE_MAX;

/// Longest word that is written as it is. Longer ones could not be folded.
const WORD_MAX: usize = 60;
const OPENING: &str = "=?utf-8?b?";
const CLOSING: &str = "?=";
/// An encoded word that begins near the end of a line holds at least this many bytes; with less
/// room than that it begins the next line. More than any character has.
const CHUNK_MIN: usize = 12;

/// The subject of a message.
#[derive(Clone, Debug)]
pub struct Subject(pub String);

impl Header for Subject {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Subject")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::dangerous_new_pre_encoded(Self::name(), self.0.clone(), encode(&self.0))
    }
}

/// Blanks beside each other become one. Neighbouring words that need it are encoded together with
/// the blanks between them, since readers drop blanks between encoded words (RFC 2047 §6.2).
fn encode(subject: &str) -> String {
    let mut line = Line { text: String::new(), column: "Subject: ".len() };
    let mut run = String::new();
    for word in subject.split(' ').filter(|word| !word.is_empty()) {
        if is_plain(word) {
            line.encoded(&std::mem::take(&mut run));
            line.word(word);
        } else {
            let blank = if run.is_empty() { "" } else { " " };
            run = run + blank + word;
        }
    }
    line.encoded(&run);
    line.text
}

fn is_plain(word: &str) -> bool {
    word.len() <= WORD_MAX && word.bytes().all(|b| b.is_ascii_graphic()) && !word.contains("=?")
}

/// What was written, and where the last of its lines ends.
struct Line {
    text: String,
    column: usize,
}

impl Line {
    fn room(&self) -> usize {
        LINE_MAX.saturating_sub(self.column + usize::from(!self.text.is_empty()))
    }

    fn word(&mut self, word: &str) {
        if word.len() > self.room() {
            self.text.push_str("\r\n ");
            self.column = 1;
        } else if !self.text.is_empty() {
            self.text.push(' ');
            self.column += 1;
        }
        self.text.push_str(word);
        self.column += word.len();
    }

    fn encoded(&mut self, mut run: &str) {
        while !run.is_empty() {
            let bytes = |room: usize| room.saturating_sub(OPENING.len() + CLOSING.len()) / 4 * 3;
            let fits = match bytes(self.room()) {
                // A line begins with a blank.
                fits if fits < CHUNK_MIN => bytes(LINE_MAX - 1),
                fits => fits,
            };
            let (chunk, rest) = run.split_at(run.floor_char_boundary(fits));
            self.word(&format!("{OPENING}{}{CLOSING}", BASE64.encode(chunk.as_bytes())));
            run = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader shows.
    fn read(header: &str) -> String {
        let mut shown = String::new();
        let mut was_encoded = false;
        for word in header.replace("\r\n ", " ").split(' ') {
            let inner = word.strip_prefix(OPENING).and_then(|word| word.strip_suffix(CLOSING));
            let decoded = inner.map(|inner| BASE64.decode(inner.as_bytes()).expect("base64"));
            let is_joined = was_encoded && decoded.is_some();
            if !shown.is_empty() && !is_joined {
                shown.push(' ');
            }
            was_encoded = decoded.is_some();
            match decoded {
                Some(bytes) => shown.push_str(&String::from_utf8(bytes).expect("characters")),
                None => shown.push_str(word),
            }
        }
        shown
    }

    #[test]
    fn plain_words_stay_as_they_are() {
        let subject = "Your verification code for Acme: 123456";
        assert_eq!(encode(subject), subject);
        assert_eq!(encode(" a  b "), "a b");
        let long = "word ".repeat(40);
        assert!(encode(&long).split("\r\n").all(|line| line.len() <= LINE_MAX));
        assert_eq!(read(&encode(&long)), long.trim_end());
    }

    #[test]
    fn everything_else_is_read_as_it_was_written_and_folded() {
        let pieces = ["a", "é", "=?utf-8?q?x?=", "宇宙", "\u{85}", "\u{2028}\u{202e}", "😀"];
        for piece in pieces {
            for times in 1..120 {
                for subject in [
                    piece.repeat(times),
                    format!("Hello {} end", piece.repeat(times)),
                    format!("{piece} ").repeat(times).trim_end().to_owned(),
                    format!("{}{piece}", "x".repeat(times)),
                ] {
                    let header = encode(&subject);
                    assert!(header.bytes().all(|b| b.is_ascii_graphic() || b" \r\n".contains(&b)));
                    assert_eq!(
                        header.matches(['\r', '\n']).count(),
                        2 * header.matches("\r\n ").count()
                    );
                    let mut lines = format!("Subject: {header}");
                    lines.retain(|c| c != '\r');
                    assert!(lines.lines().all(|line| line.len() <= LINE_MAX && line.trim() != ""));
                    assert!(!header.starts_with("\r\n"), "{header}");
                    assert_eq!(read(&header), subject);
                }
            }
        }
    }
}
