//! Bytes become lines, whatever pieces they come in.

use crate::protocol::LINE_MAX;

/// Bytes asked for at once.
const READ: usize = 65_536;
/// A byte order mark, which some writers put before their first line.
const BOM: &[u8] = b"\xEF\xBB\xBF";
/// Bytes that are looked at ahead of their lines: some 40 lines of 90 bytes.
const AHEAD: usize = 4_096;

/// One line of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'b> {
    /// A line without its end.
    Text(&'b [u8]),
    /// A line that is too long; its first [`LINE_MAX`] bytes.
    TooLong(&'b [u8]),
}

/// Cuts the input into lines, in a buffer that never grows.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// First byte that belongs to no line yet.
    start: usize,
    /// First byte that was not looked at.
    scanned: usize,
    /// Bytes that were read.
    end: usize,
    /// First byte that was not given as what lies ahead.
    foreseen: usize,
    number: u64,
    skipping: bool,
    may_have_bom: bool,
    ended: bool,
}

impl Lines {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: vec![0; LINE_MAX + READ],
            start: 0,
            scanned: 0,
            end: 0,
            foreseen: 0,
            number: 0,
            skipping: false,
            may_have_bom: true,
            ended: false,
        }
    }

    /// The number of the line that was given last, counted from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Wipes the lines that were given, which may have held codes.
    pub fn wipe(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        let rest = self.end - self.start;
        self.buffer[rest..self.end].fill(0);
        self.scanned -= self.start;
        self.foreseen = self.foreseen.saturating_sub(self.start);
        (self.start, self.end) = (0, rest);
    }

    /// Whether there are bytes that belong to no line that was given.
    #[must_use]
    pub const fn has_bytes(&self) -> bool {
        self.end > self.start
    }

    /// The bytes of the next lines, whole or not, once for each stretch of some tens of lines.
    pub fn ahead(&mut self) -> Option<&[u8]> {
        if self.start < self.foreseen || self.start == self.end {
            return None;
        }
        self.foreseen = self.end.min(self.start + AHEAD);
        Some(&self.buffer[self.start..self.foreseen])
    }

    /// Room for the next bytes.
    pub fn room(&mut self) -> &mut [u8] {
        self.wipe();
        &mut self.buffer[self.end..]
    }

    /// Takes in `count` bytes that were put into [`Lines::room`].
    pub const fn add(&mut self, count: usize) {
        self.end += count;
    }

    /// There is no more: what is left is the last line.
    pub const fn finish(&mut self) {
        self.ended = true;
    }

    /// Gives the next line, if there is one.
    pub fn next(&mut self) -> Option<Line<'_>> {
        if self.may_have_bom && self.end - self.start >= BOM.len() {
            self.may_have_bom = false;
            if self.buffer[self.start..self.end].starts_with(BOM) {
                self.start += BOM.len();
                self.scanned = self.start;
            }
        }
        if self.skipping {
            let found = memchr::memchr(b'\n', &self.buffer[self.start..self.end]);
            self.skipping = found.is_none();
            self.start = found.map_or(self.end, |at| self.start + at + 1);
            self.scanned = self.start;
        }
        let start = self.start;
        let found = memchr::memchr(b'\n', &self.buffer[self.scanned..self.end]);
        if let Some(at) = found {
            let end = self.scanned + at;
            (self.start, self.scanned) = (end + 1, end + 1);
            return Some(self.line(start, end, end + 1 - start));
        }
        self.scanned = self.end;
        let rest = self.end - start;
        if rest >= LINE_MAX {
            self.start = self.end;
            self.skipping = true;
            return Some(self.line(start, start + rest, rest + 1));
        }
        if self.ended && rest > 0 {
            self.start = self.end;
            return Some(self.line(start, start + rest, rest));
        }
        None
    }

    /// The line between two places, `len` bytes long with its end.
    fn line(&mut self, start: usize, end: usize, len: usize) -> Line<'_> {
        self.number += 1;
        self.may_have_bom = false;
        let text = &self.buffer[start..end];
        if len > LINE_MAX {
            return Line::TooLong(&text[..LINE_MAX.min(text.len())]);
        }
        Line::Text(text.strip_suffix(b"\r").unwrap_or(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an input that arrives in pieces of `piece` bytes.
    fn lines(input: &[u8], piece: usize) -> Vec<String> {
        let mut lines = Lines::new();
        let mut told = Vec::new();
        let tell = |lines: &mut Lines, told: &mut Vec<String>| {
            while let Some(line) = lines.next() {
                told.push(match line {
                    Line::Text(text) if text.len() > 100 => format!("{} bytes", text.len()),
                    Line::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    Line::TooLong(start) => format!("too long, {}", start.len()),
                });
            }
        };
        for piece in input.chunks(piece) {
            lines.room()[..piece.len()].copy_from_slice(piece);
            lines.add(piece.len());
            tell(&mut lines, &mut told);
        }
        lines.finish();
        tell(&mut lines, &mut told);
        assert_eq!(lines.number(), told.len() as u64);
        told
    }

    #[test]
    fn lines_are_the_same_whatever_pieces_they_come_in() {
        let long = "x".repeat(65_536);
        let just = "y".repeat(65_535);
        let cases: Vec<(String, Vec<&str>)> = vec![
            (String::new(), vec![]),
            ("a\nb\r\n\n \nc".into(), vec!["a", "b", "", " ", "c"]),
            ("a\r\r\nb\rc\n".into(), vec!["a\r", "b\rc"]),
            ("\u{feff}a\n\u{feff}b\n".into(), vec!["a", "\u{feff}b"]),
            ("\u{feff}\u{feff}a\n".into(), vec!["\u{feff}a"]),
            ("\u{feff}".into(), vec![]),
            (format!("{just}\nz\n"), vec!["65535 bytes", "z"]),
            (format!("{long}\nz\n"), vec!["too long, 65536", "z"]),
            (format!("{long}{long}{long}\nz"), vec!["too long, 65536", "z"]),
            (just.clone(), vec!["65535 bytes"]),
            (long.clone(), vec!["too long, 65536"]),
            (format!("{}\n\n", " ".repeat(70_000)), vec!["too long, 65536", ""]),
            (format!("{}\r\n\r", &just[1..]), vec!["65534 bytes", ""]),
            (format!("{just}\r\nz\r"), vec!["too long, 65536", "z"]),
        ];
        for (input, expected) in cases {
            for piece in [1, 2, 3, 7, 4_096, 65_535, 65_536] {
                assert_eq!(lines(input.as_bytes(), piece), expected, "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_was_given_is_wiped() {
        let mut lines = Lines::new();
        lines.room()[..15].copy_from_slice(b"123456\nrest 789");
        lines.add(15);
        assert_eq!(lines.next(), Some(Line::Text(b"123456")));
        lines.wipe();
        assert!(!lines.buffer.windows(3).any(|window| window == b"123" || window == b"456"));
        assert!(lines.buffer.starts_with(b"rest 789\0"));
        assert_eq!(lines.room().len(), LINE_MAX + READ - 8);
    }
}
