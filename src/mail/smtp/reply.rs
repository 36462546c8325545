//! A mail server's reply, read byte by byte and never kept whole (RFC 5321 §4.2).

/// Most bytes of one reply that are read at all, its lines together. RFC 5321 §4.5.3.1.5 asks for
/// 512 a line; servers that explain themselves at length stay far below this.
const REPLY_MAX: usize = 1 << 20;
/// Bytes of a line that are kept: enough for every extension's name and parameters.
const LINE_KEPT: usize = 200;
/// Lines that are kept. Servers offer about a dozen extensions.
const LINES_KEPT: usize = 64;

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Its number, 200 to 599.
    pub code: u16,
    /// The text of its first lines, each cut, without anything that could steer a terminal.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether it says yes.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it says no, for now or for good.
    #[must_use]
    pub const fn is_no(&self) -> bool {
        self.code / 100 >= 4
    }

    /// Its number and words, for the operator.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = self.code.to_string();
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            words.push(' ');
            words.push_str(line);
        }
        words.truncate(LINE_KEPT);
        words
    }

    /// What its first line says.
    #[must_use]
    pub fn first_line(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }
}

/// What was received is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoReply(
    /// Why, for the operator.
    pub &'static str,
);

/// Reads one reply.
#[derive(Debug, Default)]
pub struct ReplyReader {
    reply: Reply,
    line: Vec<u8>,
    taken: usize,
}

impl ReplyReader {
    /// Takes bytes up to the end of the reply: how many, and the reply if it has ended.
    ///
    /// # Errors
    /// [`NoReply`], as soon as that is certain: a server that talks nonsense without end is not
    /// waited for.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Reply>), NoReply> {
        for (at, byte) in bytes.iter().enumerate() {
            self.taken += 1;
            if self.taken > REPLY_MAX {
                return Err(NoReply("a reply without end"));
            }
            if *byte == b'\n' {
                let is_last = self.end_of_line()?;
                if is_last {
                    return Ok((at + 1, Some(std::mem::take(&mut self.reply))));
                }
            } else {
                if self.line.len() < LINE_KEPT + 4 {
                    self.line.push(*byte);
                }
                self.check_start()?;
            }
        }
        Ok((bytes.len(), None))
    }

    /// A line is three digits and, if there is more, a blank or a hyphen.
    fn check_start(&self) -> Result<(), NoReply> {
        let is_right = match (self.line.len(), self.line.last()) {
            (1, Some(byte)) => matches!(byte, b'2'..=b'5'),
            (2..=3, Some(byte)) => byte.is_ascii_digit(),
            (4, Some(byte)) => matches!(byte, b' ' | b'-' | b'\r'),
            _ => true,
        };
        if is_right { Ok(()) } else { Err(NoReply("something that is not a reply")) }
    }

    fn end_of_line(&mut self) -> Result<bool, NoReply> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let (Some(code), rest) = (number(line), line.get(3..).unwrap_or_default()) else {
            return Err(NoReply("something that is not a reply"));
        };
        if self.reply.code != 0 && self.reply.code != code {
            return Err(NoReply("a reply whose lines contradict each other"));
        }
        self.reply.code = code;
        if self.reply.lines.len() < LINES_KEPT {
            let text = rest.get(1..).unwrap_or_default();
            let plain =
                |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' };
            self.reply.lines.push(text.iter().take(LINE_KEPT).map(plain).collect());
        }
        let is_last = rest.first() != Some(&b'-');
        self.line.clear();
        Ok(is_last)
    }
}

fn number(line: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(line.get(..3)?).ok()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `bytes`, however they are cut into pieces.
    fn read(bytes: &[u8]) -> Result<Option<Reply>, NoReply> {
        let whole = ReplyReader::default().feed(bytes).map(|(_, reply)| reply);
        for size in 1..bytes.len().min(40) {
            let mut reader = ReplyReader::default();
            let mut pieces = bytes.chunks(size).map(|piece| reader.feed(piece));
            let last = pieces.find(|fed| !matches!(fed, Ok((_, None)))).unwrap_or(Ok((0, None)));
            assert_eq!(last.map(|(_, reply)| reply), whole);
        }
        whole
    }

    fn reply(code: u16, lines: &[&str]) -> Result<Option<Reply>, NoReply> {
        Ok(Some(Reply { code, lines: lines.iter().map(ToString::to_string).collect() }))
    }

    #[test]
    fn replies_of_one_line_and_of_many_are_read() {
        assert_eq!(read(b"250 2.0.0 Ok\r\n"), reply(250, &["2.0.0 Ok"]));
        assert_eq!(read(b"250-a\r\n250-SIZE 1\r\n250 b\r\n"), reply(250, &["a", "SIZE 1", "b"]));
        assert_eq!(read(b"354\r\n"), reply(354, &[""]));
        assert_eq!(read(b"354\n"), reply(354, &[""]));
        assert_eq!(read(b"250 \r\n"), reply(250, &[""]));
        assert_eq!(read(b"250-a\r\n250-b\r\n"), Ok(None));
        assert_eq!(read(b"25"), Ok(None));
    }

    #[test]
    fn what_follows_a_reply_is_left() {
        let fed = ReplyReader::default().feed(b"220 go\r\n354 go\r\n").expect("a reply");
        assert_eq!(fed.0, 8);
    }

    #[test]
    fn what_is_no_reply_is_known_at_once() {
        for bytes in [
            &b"abc"[..],
            b"\x00",
            b"\xff\xfe",
            b"199 early",
            b"600 late",
            b"25x",
            b"2500",
            b"250_ok",
            b"\r\n",
            b"\n",
            b"25\r\n",
            b"250-a\r\n251 b\r\n",
            b"250-a\r\nHello\r\n",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn words_are_cut_and_can_not_steer_a_terminal() {
        let mut bytes = b"550-\x1b[2J\xc3\xa9\x7f\r\n550 ".to_vec();
        bytes.extend([b'x'; 500_000]);
        bytes.extend(b"\r\n");
        let reply = ReplyReader::default().feed(&bytes).expect("a reply").1.expect("whole");
        let words = reply.words();
        assert_eq!(words.len(), LINE_KEPT);
        assert!(words.starts_with("550 ?[2J??? xxx"), "{words}");
    }

    #[test]
    fn a_reply_without_end_is_none_and_is_not_kept() {
        for piece in [&b"250-x\r\n"[..], b"xxxxxxx"] {
            let mut reader = ReplyReader::default();
            reader.feed(b"250-").expect("a beginning");
            let fed = (0..REPLY_MAX).map(|_| reader.feed(piece)).find(Result::is_err);
            assert!(fed.is_some());
            assert!(reader.line.capacity() < 1_000 && reader.reply.lines.len() <= LINES_KEPT);
        }
    }
}
