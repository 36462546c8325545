//! From the bytes of a terminal to keys.

use vte::{Params, Parser, Perform};
use zeroize::Zeroizing;

/// What somebody did at the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A letter, a digit, a sign.
    Char(char),
    /// Pasted text, all at once (bracketed paste).
    Paste(Zeroizing<String>),
    /// Delete what is before the cursor.
    Backspace,
    /// Delete what is under the cursor.
    Delete,
    /// One to the left.
    Left,
    /// One to the right.
    Right,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// Done.
    Enter,
    /// Delete all (Ctrl-U, Ctrl-W).
    Clear,
    /// Draw again (Ctrl-L).
    Redraw,
    /// There is nothing more to type (Ctrl-D).
    EndOfInput,
}

/// Longest paste that is kept, in bytes. A code is ten digits at most.
const PASTE_MAX: usize = 256;

/// Reads keys.
#[derive(Default)]
pub struct Keys {
    parser: Parser,
    found: Found,
}

#[derive(Default)]
struct Found {
    keys: Vec<Key>,
    paste: Option<Zeroizing<String>>,
    /// Whether what comes next is the name of a key (`ESC O`, the other way to send arrows).
    is_named: bool,
}

impl Keys {
    /// The keys in `bytes`. A sequence that is cut is finished by the next call.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.parser.advance(&mut self.found, bytes);
        std::mem::take(&mut self.found.keys)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Found {
    fn key(&mut self, key: Key) {
        if self.paste.is_none() {
            self.keys.push(key);
        }
    }

    /// A key that has a name instead of a character.
    fn named(&mut self, action: char, number: u16) {
        match (action, number) {
            ('D', _) => self.key(Key::Left),
            ('C', _) => self.key(Key::Right),
            ('H', _) | ('~', 1 | 7) => self.key(Key::Home),
            ('F', _) | ('~', 4 | 8) => self.key(Key::End),
            ('~', 3) => self.key(Key::Delete),
            ('~', 200) => {
                self.paste = Some(Zeroizing::new(String::with_capacity(PASTE_MAX + 4)));
            }
            ('~', 201) => {
                if let Some(paste) = self.paste.take() {
                    self.keys.push(Key::Paste(paste));
                }
            }
            _ => {}
        }
    }
}

impl Perform for Found {
    fn print(&mut self, c: char) {
        if std::mem::take(&mut self.is_named) {
            return self.named(c, 0);
        }
        match &mut self.paste {
            Some(paste) if paste.len() < PASTE_MAX => paste.push(c),
            Some(_) => {}
            // Most terminals send this for backspace; it is no letter.
            None if c == '\u{7f}' => self.key(Key::Backspace),
            None => self.key(Key::Char(c)),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            0x01 => self.key(Key::Home),
            0x04 => self.key(Key::EndOfInput),
            0x05 => self.key(Key::End),
            0x08 | 0x7f => self.key(Key::Backspace),
            b'\r' | b'\n' => self.key(Key::Enter),
            0x0c => self.key(Key::Redraw),
            0x15 | 0x17 => self.key(Key::Clear),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: char) {
        let number = params.iter().next().and_then(|param| param.first()).copied().unwrap_or(0);
        if intermediates.is_empty() {
            self.named(action, number);
        }
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        self.is_named = byte == b'O' && self.paste.is_none();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &str) -> Vec<Key> {
        let whole = Keys::default().read(bytes.as_bytes());
        let mut one_by_one = Keys::default();
        let pieces = bytes.bytes().flat_map(|byte| one_by_one.read(&[byte]));
        assert_eq!(pieces.collect::<Vec<_>>(), whole);
        whole
    }

    #[test]
    fn keys_are_read_as_terminals_send_them() {
        assert_eq!(keys("1r\u{e9}"), ['1', 'r', 'é'].map(Key::Char));
        assert_eq!(keys("\x7f\x08"), [Key::Backspace, Key::Backspace]);
        assert_eq!(keys("\x1b[D\x1b[C\x1bOD"), [Key::Left, Key::Right, Key::Left]);
        assert_eq!(keys("\x1b[H\x1b[1~\x01"), [Key::Home, Key::Home, Key::Home]);
        assert_eq!(keys("\x1b[F\x1b[4~\x05"), [Key::End, Key::End, Key::End]);
        assert_eq!(keys("\x1b[3~\r\n\x15\x0c\x04").len(), 6);
    }

    #[test]
    fn what_means_nothing_here_is_passed_over() {
        assert_eq!(keys("\x1b[A\x1b[5~\x1b]0;title\x07\x1bOP\x1b[1;5A\x02x"), [Key::Char('x')]);
    }

    #[test]
    fn a_paste_is_one_key_whatever_is_in_it() {
        let pasted = |text: &str| [Key::Paste(Zeroizing::new(text.to_owned()))];
        assert_eq!(keys("\x1b[200~048 213\x1b[201~"), pasted("048 213"));
        assert_eq!(keys("\x1b[200~a\r\nb\x1b[D\x1b[201~"), pasted("ab"));
        let long = format!("\x1b[200~{}\x1b[201~", "x".repeat(10_000));
        assert_eq!(keys(&long), pasted(&"x".repeat(PASTE_MAX)));
    }
}
