//! One box for each digit, and a cursor.

use zeroize::Zeroize;

use super::keys::Key;

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Something changed, or nothing.
    On,
    /// Every box is full.
    Full,
    /// It does not belong into a box.
    Stray,
}

/// The boxes.
#[derive(Debug)]
pub struct Boxes {
    digits: Vec<Option<u8>>,
    cursor: usize,
}

impl Boxes {
    /// Empty boxes.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { digits: vec![None; count], cursor: 0 }
    }

    /// What is in them, none for an empty one.
    pub fn digits(&self) -> impl ExactSizeIterator<Item = Option<char>> + '_ {
        self.digits.iter().map(|digit| digit.map(char::from))
    }

    /// The box that is typed into next.
    #[must_use]
    pub const fn cursor(&self) -> usize {
        self.cursor
    }

    /// Empties them.
    pub fn clear(&mut self) {
        self.digits.iter_mut().for_each(Zeroize::zeroize);
        self.cursor = 0;
    }

    /// Types a key.
    pub fn key(&mut self, key: &Key) -> Typed {
        let last = self.digits.len().saturating_sub(1);
        match key {
            Key::Char(c) if c.is_ascii_digit() => self.put(*c as u8),
            // As people write codes down.
            Key::Char(' ' | '-') => {}
            Key::Paste(text) => return self.paste(text),
            Key::Backspace => {
                // In a box that is full the cursor stands on the digit, otherwise behind one.
                if self.digits.get(self.cursor).is_none_or(Option::is_none) {
                    self.cursor = self.cursor.saturating_sub(1);
                }
                self.digits[self.cursor] = None;
            }
            Key::Delete => self.digits[self.cursor] = None,
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(last),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = last,
            Key::Clear => self.clear(),
            Key::Enter | Key::Redraw | Key::EndOfInput => {}
            Key::Char(_) => return Typed::Stray,
        }
        self.typed()
    }

    fn typed(&self) -> Typed {
        if self.digits.iter().all(Option::is_some) { Typed::Full } else { Typed::On }
    }

    fn put(&mut self, digit: u8) {
        self.digits[self.cursor] = Some(digit);
        // Behind the last there are only those that were left out.
        let last = self.digits.len() - 1;
        self.cursor = match self.cursor < last {
            true => self.cursor + 1,
            false => self.digits.iter().position(Option::is_none).unwrap_or(last),
        };
    }

    /// A code that is pasted whole begins at the first box, wherever the cursor is.
    fn paste(&mut self, text: &str) -> Typed {
        let is_blank = |c: char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}');
        let count = text.chars().filter(|c| !is_blank(*c)).count();
        let is_code = text.chars().all(|c| c.is_ascii_digit() || is_blank(c));
        if !is_code || count == 0 || count > self.digits.len() {
            return Typed::Stray;
        }
        if count == self.digits.len() {
            self.clear();
        }
        text.bytes().filter(u8::is_ascii_digit).for_each(|digit| self.put(digit));
        self.typed()
    }
}

impl Drop for Boxes {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::keys::Keys;

    /// What is in six boxes after typing, the cursor before its box.
    fn after(typed: &str) -> String {
        let mut boxes = Boxes::new(6);
        for key in Keys::default().read(typed.as_bytes()) {
            boxes.key(&key);
        }
        let mut shown: String = boxes.digits().map(|digit| digit.unwrap_or('_')).collect();
        shown.insert(boxes.cursor(), '|');
        shown
    }

    #[test]
    fn digits_go_into_boxes_and_the_cursor_goes_before_them() {
        assert_eq!(after(""), "|______");
        assert_eq!(after("048"), "048|___");
        assert_eq!(after("04 8-2"), "0482|__");
        assert_eq!(after("04821x"), "04821|_");
        assert_eq!(after("048213"), "04821|3");
    }

    #[test]
    fn mistakes_are_mended() {
        assert_eq!(after("048\x7f"), "04|____");
        assert_eq!(after("\x7f\x7f1"), "1|_____");
        assert_eq!(after("048\x1b[D\x1b[D5"), "05|8___");
        assert_eq!(after("048\x1b[D\x1b[D\x7f"), "0|_8___");
        assert_eq!(after("048\x1b[H9"), "9|48___");
        assert_eq!(after("048\x1b[H9999"), "9999|__");
        assert_eq!(after("048\x1b[H\x1b[3~"), "|_48___");
        assert_eq!(after("048\x1b[F1"), "048|__1");
        assert_eq!(after("048\x15"), "|______");
    }

    #[test]
    fn a_paste_fills_all_or_goes_on_or_is_none() {
        let paste = |text: &str| format!("\x1b[200~{text}\x1b[201~");
        assert_eq!(after(&paste("048 213")), "04821|3");
        assert_eq!(after(&paste(" 048-213\t")), "04821|3");
        assert_eq!(after(&paste("048\u{a0}\u{2013} 213")), "04821|3");
        assert_eq!(after(&format!("99{}", paste("048213"))), "04821|3");
        assert_eq!(after(&format!("0{}", paste("482"))), "0482|__");
        assert_eq!(after(&paste("0482139")), "|______");
        assert_eq!(after(&paste("code: 048213")), "|______");
        assert_eq!(after(&paste("")), "|______");
    }

    #[test]
    fn the_last_box_says_that_all_are_full() {
        let mut boxes = Boxes::new(6);
        let typed: Vec<Typed> = "0482x13".chars().map(|c| boxes.key(&Key::Char(c))).collect();
        assert_eq!(typed[4], Typed::Stray);
        assert_eq!(typed[5..], [Typed::On, Typed::Full]);
    }
}
