//! A visit at a terminal: boxes that are typed into, drawn anew when something changes.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::process::Signal;
use zeroize::{Zeroize, Zeroizing};

use super::boxes::{Boxes, Typed};
use super::keys::{Key, Keys};
use super::screen::{Scene, draw};
use super::signals::{Signals, Wanted, stop};
use super::terminal::{Terminal, give_back};
use super::visit::{End, Notice, Stage, Tone, Visit};
use super::{Show, wait};

/// Goes through a visit to its end, and leaves one line behind that says how it ended.
///
/// # Errors
/// What the system says when it can't be waited for anything.
pub fn run(
    visit: &mut Visit,
    terminal: &mut Terminal,
    signals: &mut Signals,
    show: Show,
) -> io::Result<()> {
    let mut boxes = Boxes::new(visit.digits());
    let mut keys = Keys::default();
    let mut is_borrowed = false;
    loop {
        visit.look();
        match signals.take() {
            Some(Wanted::End(number)) => visit.leave(End::Interrupted(number)),
            Some(Wanted::Stop) => {
                let _ = terminal.erase(terminal.look(show).columns);
                give_back();
                is_borrowed = false;
                stop()?;
            }
            // Whoever let it go on may have set the terminal for themselves.
            Some(Wanted::Look) => is_borrowed = false,
            None => {}
        }
        if let Stage::Over(end) = visit.stage() {
            part(visit, end, terminal, show);
            return Ok(());
        }
        let is_ours = terminal.is_ours();
        if is_ours {
            is_borrowed = is_borrowed || terminal.borrow().is_ok();
            let look = terminal.look(show);
            // A terminal that has gone is noticed by reading.
            let _ = terminal.draw(draw(&scene(visit, &boxes), &look), look.columns);
        }
        // What is typed before there is anything to type into waits there.
        let may_type = is_ours && visit.stage() == Stage::Asking;
        let input = may_type.then(|| terminal.as_fd());
        if wait(input, signals, Some(visit), next_tick(visit))? {
            read(visit, &mut boxes, &mut keys, terminal);
        }
    }
}

fn read(visit: &mut Visit, boxes: &mut Boxes, keys: &mut Keys, terminal: &mut Terminal) {
    let mut bytes = Zeroizing::new([0; 256]);
    let count = match terminal.read(&mut *bytes) {
        Ok(count @ 1..) => count,
        Err(err) if err.kind() == io::ErrorKind::Interrupted => return,
        // The terminal has gone.
        Ok(0) | Err(_) => return visit.leave(End::Interrupted(Signal::HUP.as_raw())),
    };
    for key in keys.read(&bytes[..count]) {
        if press(visit, boxes, &key) {
            // What was typed behind a code was typed without having seen what became of it.
            return terminal.forget_typed();
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

/// Types a key. True if that made a code, right or wrong.
fn press(visit: &mut Visit, boxes: &mut Boxes, key: &Key) -> bool {
    match key {
        Key::EndOfInput => visit.leave(End::Denied),
        Key::Char('r' | 'R') => visit.resend(),
        key => match (boxes.key(key), key) {
            (Typed::Full, Key::Char(_) | Key::Paste(_) | Key::Enter) => {
                let mut code: String = boxes.digits().flatten().collect();
                visit.submit(&code);
                code.zeroize();
                boxes.clear();
                return true;
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
    matches!(visit.stage(), Stage::Over(_))
}

/// Takes the form away and says how it ended, if anybody is there to be told.
fn part(visit: &Visit, end: End, terminal: &mut Terminal, show: Show) {
    let look = terminal.look(show);
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
    let _ = terminal.erase(look.columns).and_then(|()| terminal.write(&text));
}
