//! A program on a terminal of its own, and what is seen there.

use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Longer than anything takes that is waited for here.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal and the program on it.
pub struct Tty {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

struct Seen {
    parser: vt100::Parser,
    has_ended: bool,
}

fn some(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("not 0")
}

impl Tty {
    /// Starts a program on a terminal of this size.
    pub fn start(command: CommandBuilder, columns: u16) -> Self {
        let size = PtySize { rows: 24, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let child = pair.slave.spawn_command(command).expect("a program");
        let mut output = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let seen =
            Seen { parser: vt100::Parser::new(some(24), some(columns), 0), has_ended: false };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let theirs = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            loop {
                let count = output.read(&mut bytes).unwrap_or(0);
                let mut seen = theirs.0.lock().expect("whole");
                seen.parser.process(&bytes[..count]);
                seen.has_ended = count == 0;
                theirs.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self { master: pair.master, keys, child, seen }
    }

    /// Types.
    pub fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("typed");
        self.keys.flush().expect("typed");
    }

    /// Makes the window wider or narrower.
    pub fn resize(&mut self, columns: u16) {
        let size = PtySize { rows: 24, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.seen.0.lock().expect("whole").parser.screen_mut().set_size(some(24), some(columns));
        self.master.resize(size).expect("another size");
    }

    /// Waits until `what` is seen, and gives back everything that is.
    pub fn see(&self, what: &str) -> String {
        self.until(what, |screen| screen.contains(what))
    }

    /// Waits until the screen is as it should be.
    pub fn until(&self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        let mut seen = self.seen.0.lock().expect("whole");
        loop {
            let screen = seen.parser.screen().contents();
            if is_right(&screen) {
                return screen;
            }
            assert!(!seen.has_ended, "it ended without {what:?}:\n{screen}");
            let (guard, waited) = self.seen.1.wait_timeout(seen, PATIENCE).expect("whole");
            seen = guard;
            assert!(!waited.timed_out(), "no {what:?} in:\n{}", seen.parser.screen().contents());
        }
    }

    /// The line and column of the cursor, from 0.
    pub fn cursor(&self) -> (u16, u16) {
        self.seen.0.lock().expect("whole").parser.screen().cursor_position()
    }

    /// How the terminal is set.
    pub fn settings(&self) -> String {
        format!("{:?}", self.master.get_termios().expect("a terminal"))
    }

    /// The process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.process_id().expect("it lives")).expect("a pid")
    }

    /// Waits for the end: the exit status, and everything that is seen.
    pub fn end(mut self) -> (u32, String) {
        let status = self.child.wait().expect("an end");
        let mut seen = self.seen.0.lock().expect("whole");
        // With the program, the last to hold the other end of the terminal has gone.
        while !seen.has_ended {
            seen = self.seen.1.wait(seen).expect("whole");
        }
        (status.exit_code(), seen.parser.screen().contents())
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
