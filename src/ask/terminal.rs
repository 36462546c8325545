//! The terminal that belongs to this process, wherever its standard streams go.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::screen::{Look, Picture};

/// Pastes are bracketed from here on, and not any more.
const BEGIN: &str = "\x1b[?2004h";
const END: &str = "\x1b[?2004l\x1b[?25h";

/// What a terminal must be given back as, for whoever ends this process in the middle.
static BORROWED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    tty: File,
    /// Rows that were drawn above the cursor, and the widths of all of them.
    above: usize,
    widths: Vec<usize>,
}

impl Terminal {
    /// Opens it.
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::NOCTTY.bits().cast_signed();
        let tty = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty")?;
        // A terminal that has gone can be opened and nothing else.
        tcgetattr(&tty)?;
        Ok(Self { tty, above: 0, widths: Vec::new() })
    }

    /// Has keys delivered one by one and not shown. Ctrl-C and Ctrl-Z are still signals.
    ///
    /// # Errors
    /// What the system says.
    pub fn borrow(&mut self) -> io::Result<()> {
        let saved = tcgetattr(&self.tty)?;
        let mut modes = saved.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        *borrowed() = Some((self.tty.try_clone()?, saved));
        tcsetattr(&self.tty, OptionalActions::Drain, &modes)?;
        self.tty.write_all(BEGIN.as_bytes())
    }

    /// Columns, and what else it can do.
    #[must_use]
    pub fn look(&self, colour: bool, unicode: bool) -> Look {
        let columns = tcgetwinsize(&self.tty).map_or(0, |size| usize::from(size.ws_col));
        Look { columns: if columns == 0 { 80 } else { columns }, colour, unicode }
    }

    /// Reads what was typed.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.tty.read(bytes)
    }

    /// Writes text where the cursor is.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.tty.write_all(text.as_bytes())
    }

    /// Draws a picture in the place of the last one.
    ///
    /// # Errors
    /// What the system says.
    pub fn draw(&mut self, picture: &Picture, columns: usize) -> io::Result<()> {
        // One write, hidden cursor: nothing flickers.
        let mut text = format!("\x1b[?25l{}", self.erasing(columns));
        text.push_str(&picture.lines.join("\r\n"));
        let last = picture.lines.len().saturating_sub(1);
        self.above = last;
        if let Some((line, column)) = picture.cursor {
            text.push('\r');
            let up = last - line;
            if up > 0 {
                text.push_str(&format!("\x1b[{up}A"));
            }
            if column > 0 {
                text.push_str(&format!("\x1b[{column}C"));
            }
            text.push_str("\x1b[?25h");
            self.above = line;
        }
        self.widths.clone_from(&picture.widths);
        self.tty.write_all(text.as_bytes())
    }

    /// Takes the last picture away.
    ///
    /// # Errors
    /// What the system says.
    pub fn erase(&mut self, columns: usize) -> io::Result<()> {
        let text = self.erasing(columns);
        self.above = 0;
        self.widths.clear();
        self.tty.write_all(text.as_bytes())
    }

    /// What goes back to where the last picture began. Lines that were wider than the terminal is
    /// now have been broken by it.
    fn erasing(&self, columns: usize) -> String {
        let rows = |width: &usize| width.saturating_sub(1) / columns.max(1) + 1;
        let up: usize = self.widths.iter().take(self.above).map(rows).sum();
        match up {
            0 => "\r\x1b[J".to_owned(),
            _ => format!("\r\x1b[{up}A\x1b[J"),
        }
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tty.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was; nothing happens if it was not borrowed.
pub fn give_back() {
    if let Some((mut tty, saved)) = borrowed().take() {
        let _ = tty.write_all(END.as_bytes());
        // What was typed ahead is not for the shell: it may be a code.
        let _ = tcsetattr(&tty, OptionalActions::Flush, &saved);
    }
}

fn borrowed() -> std::sync::MutexGuard<'static, Option<(File, Termios)>> {
    BORROWED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A panic ends the process without going through anybody's `drop`.
pub fn give_back_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        give_back();
        told(info);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_became_narrower_has_broken_the_lines_that_were_drawn() {
        let tty = File::open("/dev/null").expect("a file");
        let terminal = Terminal { tty, above: 3, widths: vec![0, 50, 39, 37] };
        assert_eq!(terminal.erasing(80), "\r\x1b[3A\x1b[J");
        assert_eq!(terminal.erasing(40), "\r\x1b[4A\x1b[J");
        assert_eq!(terminal.erasing(10), "\r\x1b[10A\x1b[J");
    }
}
