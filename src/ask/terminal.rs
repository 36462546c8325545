//! The terminal that belongs to this process, wherever its standard streams go.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcgetpgrp, tcgetwinsize, tcsetattr,
};

use super::Show;
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
    drawn: Option<Drawn>,
}

/// What stands on the screen.
#[derive(Debug)]
struct Drawn {
    picture: Picture,
    columns: usize,
    /// The line that the cursor is in.
    at: usize,
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
        Ok(Self { tty, drawn: None })
    }

    /// The same terminal as a file, for lines.
    ///
    /// # Errors
    /// What the system says.
    pub fn file(&self) -> io::Result<File> {
        self.tty.try_clone()
    }

    /// Whether it is this process that the person at the terminal speaks with, and not one in front
    /// of it. Whoever sets a terminal from behind is stopped.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        is_ours(&self.tty)
    }

    /// Has keys delivered one by one and not shown, also if they were and somebody changed that.
    /// Ctrl-C and Ctrl-Z are still signals.
    ///
    /// # Errors
    /// What the system says.
    pub fn borrow(&mut self) -> io::Result<()> {
        let mut modes = tcgetattr(&self.tty)?;
        borrowed().get_or_insert((self.tty.try_clone()?, modes.clone()));
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&self.tty, OptionalActions::Drain, &modes)?;
        self.tty.write_all(BEGIN.as_bytes())
    }

    /// Its size, and what else it can do.
    #[must_use]
    pub fn look(&self, Show { colour, unicode }: Show) -> Look {
        let size = tcgetwinsize(&self.tty).ok();
        let (columns, rows) = size.map_or((0, 0), |size| (size.ws_col.into(), size.ws_row.into()));
        // A terminal that doesn't know is taken for the usual one.
        let or = |size: usize, usual: usize| if size == 0 { usual } else { size };
        Look { columns: or(columns, 80), rows: or(rows, 24), colour, unicode }
    }

    /// Reads what was typed.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.tty.read(bytes)
    }

    /// Forgets what was typed and not yet read.
    pub fn forget_typed(&self) {
        let _ = tcflush(&self.tty, QueueSelector::IFlush);
    }

    /// Writes text where the cursor is.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.tty.write_all(text.as_bytes())
    }

    /// Draws a picture in the place of the last one: only the lines that changed, so that nothing
    /// flickers and nothing is pushed out of the window.
    ///
    /// # Errors
    /// What the system says.
    pub fn draw(&mut self, picture: Picture, columns: usize) -> io::Result<()> {
        // Hidden meanwhile, the cursor is not seen to run about.
        let mut text = "\x1b[?25l".to_owned();
        let last = picture.lines.len().saturating_sub(1);
        let mut at = match self.drawn.take() {
            Some(drawn) if drawn.columns == columns => mend(&mut text, &drawn, &picture),
            drawn => {
                text.push_str(&drawn.map_or("\r".to_owned(), |drawn| erasing(&drawn, columns)));
                text.push_str(&picture.lines.join("\r\n"));
                last
            }
        };
        if let Some((line, column)) = picture.cursor {
            go(&mut text, &mut at, line);
            if column > 0 {
                let _ = write!(text, "\x1b[{column}C");
            }
            text.push_str("\x1b[?25h");
        }
        self.drawn = Some(Drawn { picture, columns, at });
        self.tty.write_all(text.as_bytes())
    }

    /// Takes the last picture away.
    ///
    /// # Errors
    /// What the system says.
    pub fn erase(&mut self, columns: usize) -> io::Result<()> {
        match self.drawn.take() {
            Some(drawn) => self.tty.write_all(erasing(&drawn, columns).as_bytes()),
            None => Ok(()),
        }
    }
}

/// Writes what makes the picture that stands there the new one, and tells the line in which that
/// leaves the cursor. Writing to a string can't fail.
fn mend(text: &mut String, drawn: &Drawn, picture: &Picture) -> usize {
    let old = &drawn.picture.lines;
    let mut at = drawn.at;
    for (line, new) in picture.lines.iter().enumerate() {
        if line >= old.len() {
            go(text, &mut at, line - 1);
            let _ = write!(text, "\r\n{new}");
            at = line;
        } else if old[line] != *new {
            go(text, &mut at, line);
            let _ = write!(text, "{new}\x1b[K");
        }
    }
    for line in picture.lines.len()..old.len() {
        go(text, &mut at, line);
        text.push_str("\x1b[K");
    }
    at
}

/// Goes to the beginning of a line.
fn go(text: &mut String, at: &mut usize, line: usize) {
    text.push('\r');
    let _ = match line.cmp(at) {
        std::cmp::Ordering::Less => write!(text, "\x1b[{}A", *at - line),
        std::cmp::Ordering::Greater => write!(text, "\x1b[{}B", line - *at),
        std::cmp::Ordering::Equal => Ok(()),
    };
    *at = line;
}

/// What goes back to where the picture began, and takes everything below away. Lines that were
/// wider than the terminal is now have been broken by it.
fn erasing(drawn: &Drawn, columns: usize) -> String {
    let rows = |width: &usize| width.saturating_sub(1) / columns.max(1) + 1;
    let up: usize = drawn.picture.widths.iter().take(drawn.at).map(rows).sum();
    match up {
        0 => "\r\x1b[J".to_owned(),
        _ => format!("\r\x1b[{up}A\x1b[J"),
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

/// Gives the terminal back as it was; nothing happens if it was not borrowed. Behind somebody else
/// it is theirs, and they have set it.
pub fn give_back() {
    let Some((mut tty, saved)) = borrowed().take() else { return };
    if is_ours(&tty) {
        let _ = tty.write_all(END.as_bytes());
        // What was typed ahead is not for the shell: it may be a code.
        let _ = tcsetattr(&tty, OptionalActions::Flush, &saved);
    }
}

fn is_ours(tty: &File) -> bool {
    tcgetpgrp(tty).is_ok_and(|group| group == getpgrp())
}

fn borrowed() -> MutexGuard<'static, Option<(File, Termios)>> {
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

    fn drawn(lines: &[&str], at: usize) -> Drawn {
        Drawn { picture: picture(lines), columns: 80, at }
    }

    fn picture(lines: &[&str]) -> Picture {
        Picture {
            lines: lines.iter().map(ToString::to_string).collect(),
            widths: lines.iter().map(|line| line.chars().count()).collect(),
            cursor: None,
        }
    }

    #[test]
    fn a_terminal_that_became_narrower_has_broken_the_lines_that_were_drawn() {
        let drawn = drawn(&["", &"x".repeat(50), &"x".repeat(39), "x"], 3);
        assert_eq!(erasing(&drawn, 80), "\r\x1b[3A\x1b[J");
        assert_eq!(erasing(&drawn, 40), "\r\x1b[4A\x1b[J");
        assert_eq!(erasing(&drawn, 10), "\r\x1b[10A\x1b[J");
    }

    #[test]
    fn only_what_changed_is_drawn_again() {
        let mended = |old: &[&str], at: usize, new: &[&str]| {
            let mut text = String::new();
            let at = mend(&mut text, &drawn(old, at), &picture(new));
            (text.replace('\x1b', "E"), at)
        };
        assert_eq!(mended(&["a", "b", "c"], 1, &["a", "b", "c"]), (String::new(), 1));
        assert_eq!(mended(&["a", "b", "c"], 1, &["a", "b", "d"]), ("\rE[1BdE[K".into(), 2));
        assert_eq!(mended(&["a", "b"], 1, &["x", "b", "c"]), ("\rE[1AxE[K\rE[1B\r\nc".into(), 2));
        assert_eq!(mended(&["a", "b", "c"], 2, &["a"]), ("\rE[1AE[K\rE[1BE[K".into(), 2));
    }
}
