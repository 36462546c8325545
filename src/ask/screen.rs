//! What a person sees: lines, and where the cursor belongs. Data in, text out.

use std::fmt::Write;
use std::time::Duration;

use super::boxes::Boxes;
use super::visit::{Notice, Tone};
use crate::clock::secs_up;

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// Whether colours are wanted.
    pub colour: bool,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
}

/// What there is to be shown.
#[derive(Debug)]
pub struct Scene<'a> {
    /// What was mailed where, a line each.
    pub heading: &'a [String],
    /// What was typed; none while the mail is under way.
    pub boxes: Option<&'a Boxes>,
    /// The newest sentence.
    pub notice: &'a Notice,
    /// How long the code lives, and how long until it can be sent again.
    pub clocks: Option<(Duration, Duration)>,
}

/// Lines that were drawn, none wider than the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The lines, with what colours them.
    pub lines: Vec<String>,
    /// Their widths, in columns.
    pub widths: Vec<usize>,
    /// The line and the column of the cursor; none if there is nothing to type.
    pub cursor: Option<(usize, usize)>,
}

/// Blanks before everything, where there is room.
const MARGIN: usize = 2;

/// What is left out where there is not enough room, one after the other: the lines between, the
/// name of the file, everything above the boxes, the clocks, and at last the frames of the boxes
/// with everything else.
const LEAVE_OUT: std::ops::RangeInclusive<usize> = 0..=5;

/// Draws a scene, in less lines than the terminal has: what is higher could not be drawn again.
#[must_use]
pub fn draw(scene: &Scene<'_>, look: &Look) -> Picture {
    let mut pictures = LEAVE_OUT.map(|left_out| draw_without(scene, look, left_out));
    let fits = pictures.find(|picture| picture.lines.len() < look.rows);
    fits.unwrap_or_else(|| draw_without(scene, look, *LEAVE_OUT.end()))
}

fn draw_without(scene: &Scene<'_>, look: &Look, left_out: usize) -> Picture {
    let mut page = Page::new(look);
    let has_air = left_out < 1;
    let heading = match left_out {
        0 | 1 => scene.heading,
        2 => &scene.heading[..scene.heading.len().min(1)],
        _ if scene.boxes.is_none() => &scene.heading[..scene.heading.len().min(1)],
        _ => &[],
    };
    page.blank(has_air);
    for text in heading {
        page.text(text, Style::Plain);
    }
    if let Some(boxes) = scene.boxes {
        page.blank(has_air);
        page.boxes(boxes, left_out < *LEAVE_OUT.end());
    }
    if !scene.notice.text.is_empty() && left_out < *LEAVE_OUT.end() {
        page.blank(has_air);
        page.text(&scene.notice.text, scene.notice.tone.into());
    }
    if let Some((life, wait)) = scene.clocks.filter(|_| left_out < 4) {
        page.blank(has_air);
        page.clocks(life, wait);
    }
    page.blank(has_air);
    page.picture
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Faint,
    Strong,
    Good,
    Bad,
}

impl From<Tone> for Style {
    fn from(tone: Tone) -> Self {
        match tone {
            Tone::Plain => Self::Plain,
            Tone::Good => Self::Good,
            Tone::Bad => Self::Bad,
        }
    }
}

impl Style {
    /// The sequence that begins it (ECMA-48 §8.3.117).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "\x1b[2m",
            Self::Strong => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
        }
    }
}

struct Page<'l> {
    look: &'l Look,
    margin: usize,
    picture: Picture,
}

impl<'l> Page<'l> {
    const fn new(look: &'l Look) -> Self {
        let margin = if look.columns >= 30 { MARGIN } else { 0 };
        let picture = Picture { lines: Vec::new(), widths: Vec::new(), cursor: None };
        Self { look, margin, picture }
    }

    fn blank(&mut self, is_wanted: bool) {
        if is_wanted {
            self.line(&[]);
        }
    }

    /// A line of pieces that fit.
    fn line(&mut self, pieces: &[(&str, Style)]) {
        let mut line = String::new();
        let mut width = 0;
        for (text, style) in pieces {
            if width == 0 {
                line.push_str(&" ".repeat(self.margin));
                width = self.margin;
            }
            let is_coloured = self.look.colour && !style.code().is_empty();
            // Writing to a string can't fail.
            let _ = match is_coloured {
                true => write!(line, "{}{text}\x1b[0m", style.code()),
                false => write!(line, "{text}"),
            };
            width += text.chars().count();
        }
        self.picture.lines.push(line);
        self.picture.widths.push(width);
    }

    /// A text, broken at blanks, and within words that are longer than a line.
    fn text(&mut self, text: &str, style: Style) {
        let room = self.look.columns.saturating_sub(self.margin + 1).max(1);
        let shown: String = match self.look.unicode {
            true => text.to_owned(),
            false => text.replace('…', "...").replace('·', "-"),
        };
        let mut line = String::new();
        for word in shown.split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            let width = line.chars().count();
            if width > 0 && width + 1 + word.len() > room {
                self.line(&[(&std::mem::take(&mut line), style)]);
            } else if width > 0 {
                line.push(' ');
            }
            while word.len() > room {
                let part: String = word.drain(..room).collect();
                self.line(&[(&part, style)]);
            }
            line.extend(word);
        }
        self.line(&[(&line, style)]);
    }

    fn boxes(&mut self, boxes: &Boxes, has_room: bool) {
        let count = boxes.digits().len();
        let half = if count.is_multiple_of(2) { count / 2 } else { count };
        let room = self.look.columns.saturating_sub(self.margin + 1);
        // Wide boxes with a gap in the middle, as people read codes; narrow ones beside each
        // other; or bare digits.
        if has_room && 6 * count < room {
            self.framed(boxes, 3, half);
        } else if has_room && 2 * count < room {
            self.framed(boxes, 1, count);
        } else {
            let row: String = boxes.digits().map(|digit| digit.unwrap_or('_')).collect();
            self.line(&[(&row, Style::Strong)]);
            self.cursor(boxes.cursor());
        }
    }

    /// Boxes of `inner` columns, those that are three wide apart from each other and more so after
    /// the first `half`.
    fn framed(&mut self, boxes: &Boxes, inner: usize, half: usize) {
        let frame = if self.look.unicode { FRAME } else { PLAIN_FRAME };
        let is_wide = inner > 1;
        let edge = |left: char, joint: char, right: char| {
            let mut line = String::new();
            for place in 0..boxes.digits().len() {
                line.push_str(gap(place, half, is_wide));
                line.push(if is_wide || place == 0 { left } else { joint });
                line.extend(std::iter::repeat_n(frame.flat, inner));
                if is_wide {
                    line.push(right);
                }
            }
            if !is_wide {
                line.push(right);
            }
            line
        };
        self.line(&[(&edge(frame.top.0, frame.top.1, frame.top.2), Style::Faint)]);
        let upright = frame.upright.to_string();
        let mut row: Vec<(String, Style)> = Vec::new();
        let mut column = 0;
        let mut cursor = 0;
        for (place, digit) in boxes.digits().enumerate() {
            let before = format!("{}{upright}", gap(place, half, is_wide));
            let middle = format!("{:^inner$}", digit.unwrap_or(' '));
            column += before.chars().count();
            if place == boxes.cursor() {
                cursor = column + inner / 2;
            }
            column += inner;
            row.push((before, Style::Faint));
            row.push((middle, Style::Strong));
            if is_wide {
                column += 1;
                row.push((upright.clone(), Style::Faint));
            }
        }
        if !is_wide {
            row.push((upright, Style::Faint));
        }
        let row: Vec<(&str, Style)> = row.iter().map(|(text, style)| (&**text, *style)).collect();
        self.line(&row);
        self.cursor(cursor);
        self.line(&[(&edge(frame.bottom.0, frame.bottom.1, frame.bottom.2), Style::Faint)]);
    }

    /// Puts the cursor into the last line.
    fn cursor(&mut self, column: usize) {
        self.picture.cursor = Some((self.picture.lines.len() - 1, self.margin + column));
    }

    fn clocks(&mut self, life: Duration, wait: Duration) {
        let life = format!("valid for {}", clock(life));
        let again = match wait.is_zero() {
            true => "r: send again".to_owned(),
            false => format!("r: send again in {}", clock(wait)),
        };
        let leave = "Ctrl-C: leave".to_owned();
        let dot = if self.look.unicode { " · " } else { " - " };
        let room = self.look.columns.saturating_sub(self.margin + 1);
        let mut line = String::new();
        for part in [life, again, leave] {
            let width = line.chars().count();
            if width > 0 && width + dot.chars().count() + part.chars().count() > room {
                self.text(&std::mem::take(&mut line), Style::Faint);
            } else if width > 0 {
                line.push_str(dot);
            }
            line.push_str(&part);
        }
        self.text(&line, Style::Faint);
    }
}

/// What stands before a box.
const fn gap(place: usize, half: usize, is_wide: bool) -> &'static str {
    match is_wide {
        true if place == 0 => "",
        true if place == half => "   ",
        true => " ",
        false => "",
    }
}

/// What boxes are drawn with: corners and joints from left to right.
struct Frame {
    top: (char, char, char),
    bottom: (char, char, char),
    flat: char,
    upright: char,
}

const FRAME: Frame =
    Frame {
        top: ('┌', '┬', '┐'), bottom: ('└', '┴', '┘'), flat: '─', upright: '│'
    };
const PLAIN_FRAME: Frame =
    Frame { top: ('+', '+', '+'), bottom: ('+', '+', '+'), flat: '-', upright: '|' };

/// `0:42`, `9:41`, `23:59:00`; rounded up, so that it never says that it is over before it is.
#[must_use]
pub fn clock(span: Duration) -> String {
    let secs = secs_up(span);
    let (hours, minutes, secs) = (secs / 3_600, secs / 60 % 60, secs % 60);
    match hours {
        0 => format!("{minutes}:{secs:02}"),
        _ => format!("{hours}:{minutes:02}:{secs:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::keys::Keys;

    /// A scene in which `typed` was typed, at a width.
    fn shown(columns: usize, digits: usize, typed: &str, notice: (&str, Tone)) -> Picture {
        let mut boxes = Boxes::new(digits);
        for key in Keys::default().read(typed.as_bytes()) {
            boxes.key(&key);
        }
        let heading = ["A code of 6 digits was sent to ann@example.org.".to_owned()];
        let notice = Notice { text: notice.0.to_owned(), tone: notice.1 };
        let clocks = Some((Duration::from_secs(581), Duration::from_millis(31_001)));
        let scene = Scene { heading: &heading, boxes: Some(&boxes), notice: &notice, clocks };
        draw(&scene, &Look { columns, rows: 24, colour: false, unicode: true })
    }

    /// As a person sees it, the cursor as a block.
    fn seen(picture: &Picture) -> String {
        let mut lines: Vec<Vec<char>> =
            picture.lines.iter().map(|line| line.chars().collect()).collect();
        if let Some((line, column)) = picture.cursor {
            lines[line][column] = '█';
        }
        lines.iter().map(|line| line.iter().collect::<String>() + "\n").collect()
    }

    #[test]
    fn at_80_columns_everything_has_its_line() {
        let picture = shown(80, 6, "048", ("That is not the code. 4 attempts left.", Tone::Bad));
        assert_eq!(
            seen(&picture),
            "
  A code of 6 digits was sent to ann@example.org.

  ┌───┐ ┌───┐ ┌───┐   ┌───┐ ┌───┐ ┌───┐
  │ 0 │ │ 4 │ │ 8 │   │ █ │ │   │ │   │
  └───┘ └───┘ └───┘   └───┘ └───┘ └───┘

  That is not the code. 4 attempts left.

  valid for 9:41 · r: send again in 0:32 · Ctrl-C: leave

"
        );
    }

    #[test]
    fn at_40_columns_everything_fits_as_well() {
        let picture = shown(40, 6, "", ("", Tone::Plain));
        assert_eq!(
            seen(&picture),
            "
  A code of 6 digits was sent to
  ann@example.org.

  ┌───┐ ┌───┐ ┌───┐   ┌───┐ ┌───┐ ┌───┐
  │ █ │ │   │ │   │   │   │ │   │ │   │
  └───┘ └───┘ └───┘   └───┘ └───┘ └───┘

  valid for 9:41
  r: send again in 0:32 · Ctrl-C: leave

"
        );
    }

    #[test]
    fn nothing_is_wider_than_the_terminal_however_narrow_it_is() {
        for columns in 1..100 {
            for digits in 6..=10 {
                let picture = shown(columns, digits, "12", ("That is not the code.", Tone::Bad));
                let widest = picture.widths.iter().max().expect("lines");
                assert!(*widest < columns.max(digits + 2), "{columns} {digits}: {widest}");
                assert!(picture.cursor.is_some());
            }
        }
    }

    #[test]
    fn the_boxes_are_seen_however_little_room_there_is() {
        let boxes = Boxes::new(6);
        let heading = ["A code was sent to you.".to_owned(), "The message is a file".to_owned()];
        let notice = Notice { text: "That is not the code.".to_owned(), tone: Tone::Bad };
        let clocks = Some((Duration::from_secs(1), Duration::ZERO));
        let scene = Scene { heading: &heading, boxes: Some(&boxes), notice: &notice, clocks };
        for columns in [6, 10, 20, 40, 80] {
            for rows in 2..24 {
                let look = Look { columns, rows, colour: false, unicode: true };
                let picture = draw(&scene, &look);
                assert!(picture.lines.len() < rows, "{columns} {rows}");
                assert!(picture.cursor.is_some());
            }
        }
        let at =
            |rows| seen(&draw(&scene, &Look { columns: 80, rows, colour: false, unicode: false }));
        assert_eq!(at(3), "  █_____\n");
        assert!(
            at(5).contains("+---+") && at(5).contains("That is not") && !at(5).contains("valid")
        );
        assert!(at(6).contains("valid") && !at(6).contains("A code"));
        assert!(at(7).contains("A code") && !at(7).contains("file"));
        assert!(at(8).contains("file"));
    }

    #[test]
    fn colours_are_only_where_they_are_wanted_and_end_where_they_began() {
        let notice = Notice { text: "Verified.".to_owned(), tone: Tone::Good };
        let scene = Scene { heading: &[], boxes: None, notice: &notice, clocks: None };
        let look = Look { columns: 80, rows: 24, colour: true, unicode: false };
        assert_eq!(draw(&scene, &look).lines[2], "  \x1b[32mVerified.\x1b[0m");
        let plain = draw(&scene, &Look { colour: false, ..look });
        assert_eq!(plain.lines[2], "  Verified.");
        assert_eq!(plain.cursor, None);
    }

    #[test]
    fn times_are_told_as_clocks_do() {
        let told = |millis| clock(Duration::from_millis(millis));
        assert_eq!((told(0), told(1), told(59_001)), ("0:00".into(), "0:01".into(), "1:00".into()));
        assert_eq!((told(600_000), told(86_400_000)), ("10:00".into(), "24:00:00".into()));
    }
}
