//! A daemon that is spoken to through pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::{Deref, DerefMut};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::Binary;

/// A process that does not outlive its test, however that ends.
pub struct Reaped(pub Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for Reaped {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Reaped {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// A daemon that is spoken to a line at a time.
pub struct Talk {
    pub binary: Option<Binary>,
    pub child: Reaped,
    pub stdin: Option<ChildStdin>,
    pub stdout: BufReader<ChildStdout>,
}

impl Talk {
    /// A daemon with an outbox of its own.
    pub fn new(args: &[&str]) -> Self {
        let binary = Binary::new();
        let talk = Self::with(binary.serve(args));
        Self { binary: Some(binary), ..talk }
    }

    pub fn with(mut child: Child) -> Self {
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { binary: None, child: Reaped(child), stdin, stdout }
    }

    pub fn send(&mut self, bytes: &str) {
        self.stdin.as_mut().expect("open").write_all(bytes.as_bytes()).expect("taken");
    }

    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.hear()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it lives");
    }

    /// Everything else that is said, how it ended, and what stood on stderr.
    pub fn end(mut self) -> (String, ExitStatus, String) {
        drop(self.stdin.take());
        let (mut rest, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut rest).expect("text");
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).expect("text");
        }
        (rest, self.child.wait().expect("it ends"), log)
    }
}
