//! A visit at a terminal: boxes that are typed into, drawn anew when something changes.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use zeroize::{Zeroize, Zeroizing};

use super::boxes::{Boxes, Typed};
use super::keys::{Key, Keys};
use super::screen::{Scene, draw};
use super::signals::{Signals, Wanted};
use super::terminal::{Terminal, give_back};
use super::visit::{End, Notice, Stage, Tone, Visit};
use super::{Show, wait};

/// Goes through a visit to its end, and leaves one line behind that says how it ended.
///
/// # Errors
/// What the system says of the terminal.
pub fn run(
    visit: &mut Visit,
    terminal: &mut Terminal,
    signals: &mut Signals,
    show: Show,
) -> io::Result<()> {
    terminal.borrow()?;
    let mut boxes = Boxes::new(visit.digits());
    let mut keys = Keys::default();
    loop {
        visit.look();
        match signals.take() {
            Some(Wanted::End(number)) => visit.leave(End::Interrupted(number)),
            Some(Wanted::Stop) => stop(terminal, show)?,
            Some(Wanted::Look) | None => {}
        }
        if let Stage::Over(end) = visit.stage() {
            return part(visit, end, terminal, show);
        }
        let look = terminal.look(show.colour, show.unicode);
        terminal.draw(&draw(&scene(visit, &boxes), &look), look.columns)?;
        if wait(Some(terminal.as_fd()), signals, visit, next_tick(visit))? {
            let mut bytes = Zeroizing::new([0; 256]);
            match terminal.read(&mut *bytes) {
                // The terminal has gone.
                Ok(0) => visit.leave(End::Denied),
                Ok(count) => {
                    for key in keys.read(&bytes[..count]) {
                        press(visit, &mut boxes, &key);
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
    }
}

fn scene<'v>(visit: &'v Visit, boxes: &'v Boxes) -> Scene<'v> {
    let standing = visit.standing().filter(|_| visit.stage() == Stage::Asking);
    Scene {
        heading: visit.heading(),
        boxes: standing.is_some().then_some(boxes),
        notice: visit.notice(),
        clocks: standing.map(|standing| (standing.expires_in, standing.resend_in)),
    }
}

/// How long until a clock on the screen changes. They are rounded up.
fn next_tick(visit: &Visit) -> Option<Duration> {
    let standing = visit.standing()?;
    let part = |span: Duration| match Duration::from_nanos(span.subsec_nanos().into()) {
        Duration::ZERO => Duration::from_secs(1),
        part => part,
    };
    Some(part(standing.expires_in).min(part(standing.resend_in)))
}

fn press(visit: &mut Visit, boxes: &mut Boxes, key: &Key) {
    match (visit.stage(), key) {
        (Stage::Over(_), _) => {}
        (_, Key::EndOfInput) => visit.leave(End::Denied),
        (Stage::Mailing, _) => {}
        (Stage::Asking, Key::Char('r' | 'R')) => visit.resend(),
        (Stage::Asking, key) => match (boxes.key(key), key) {
            (Typed::Full, Key::Char(_) | Key::Paste(_) | Key::Enter) => {
                let mut code: String = boxes.digits().flatten().collect();
                visit.submit(&code);
                code.zeroize();
                boxes.clear();
            }
            (Typed::Stray, Key::Paste(_)) => {
                let digits = visit.digits();
                visit.say(format!("That is not a code of {digits} digits."), Tone::Bad);
            }
            (Typed::On, Key::Enter) => {
                let missing = boxes.digits().filter(Option::is_none).count();
                let s = if missing == 1 { "" } else { "s" };
                visit.say(format!("{missing} digit{s} to go."), Tone::Plain);
            }
            _ => {}
        },
    }
}

/// Stops until somebody lets the process go on, with the terminal as it was.
fn stop(terminal: &mut Terminal, show: Show) -> io::Result<()> {
    let columns = terminal.look(show.colour, show.unicode).columns;
    terminal.erase(columns)?;
    give_back();
    kill_process(getpid(), Signal::STOP)?;
    terminal.borrow()
}

/// Takes the form away and says how it ended.
fn part(visit: &Visit, end: End, terminal: &mut Terminal, show: Show) -> io::Result<()> {
    let look = terminal.look(show.colour, show.unicode);
    terminal.erase(look.columns)?;
    let mark = match (end, show.unicode) {
        (End::Verified, true) => "✓ ",
        (End::Denied | End::Unsent, true) => "✗ ",
        _ => "",
    };
    let notice =
        Notice { text: format!("{mark}{}", visit.notice().text), ..visit.notice().clone() };
    let scene = Scene { heading: &[], boxes: None, notice: &notice, clocks: None };
    // Without the blank lines around it.
    let picture = draw(&scene, &look);
    let lines = picture.lines.iter().filter(|line| !line.is_empty());
    let text: String = lines.map(|line| format!("{line}\r\n")).collect();
    terminal.write(&text)
}
