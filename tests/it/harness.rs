//! What the tests share: a desk in this process, and the binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use otpd::cli::flags::{Cli, Command as CliCommand};
use otpd::log::{Format, Level, Log};
use otpd::mail::Carrier;
use otpd::mail::outbox::Outbox;
use otpd::serve::desk::Desk;
use otpd::service::{Outside, Service};
use otpd::simulate::{Seeded, StoppedClock};
use tempfile::TempDir;

/// The seed of every simulated world here.
pub const SEED: u64 = 7;

/// A desk in a simulated world, with an outbox of its own.
pub struct World {
    pub desk: Desk,
    pub outbox: PathBuf,
    lines: u64,
    _dir: TempDir,
}

impl World {
    pub fn new(flags: &[&str]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let outbox = dir.path().join("outbox");
        let args = ["otpd", "serve"].iter().chain(flags);
        let CliCommand::Serve(flags) = Cli::read(args).expect("flags").command else {
            panic!("`serve` and nothing else")
        };
        let clock = StoppedClock::default();
        let path = outbox.to_str().expect("UTF-8");
        let transport = Outbox::open(path, Rc::new(clock.clone())).expect("an outbox");
        let outside = Outside {
            clock: Rc::new(clock.clone()),
            random: Box::new(Seeded::new(SEED)),
            carrier: Carrier::Here(Box::new(transport)),
            simulated: Some(clock),
        };
        let log = Log::new(Level::Off, Format::Text, Box::new(|_| {}));
        let (policy, sender) = flags.setup.policy_and_sender().expect("a setup");
        let service = Service::new(policy, sender, outside).expect("a service");
        let desk = Desk::new(service, log);
        Self { desk, outbox, lines: 0, _dir: dir }
    }

    /// The reply to a line; empty if it has none.
    pub fn say(&mut self, line: &str) -> String {
        self.lines += 1;
        let mut out = Vec::new();
        self.desk.line(line.as_bytes(), self.lines, &mut out);
        String::from_utf8(out).expect("UTF-8").trim_end_matches('\n').to_owned()
    }

    /// The code in the newest message.
    pub fn newest_code(&self) -> String {
        let file = mails(&self.outbox).pop().expect("a message");
        code_in(&std::fs::read_to_string(file).expect("a message"))
    }
}

/// The messages of an outbox, oldest first.
pub fn mails(outbox: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(outbox).expect("an outbox");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
    files.sort();
    files
}

/// The code of a message: the line of the text that is all digits.
pub fn code_in(message: &str) -> String {
    let is_code = |line: &&str| line.len() >= 6 && line.bytes().all(|b| b.is_ascii_digit());
    message.lines().find(is_code).expect("a line of digits").to_owned()
}

/// Another code of the same length.
pub fn other_code(code: &str, by: u64) -> String {
    let number: u64 = code.parse().expect("digits");
    let codes = 10_u64.pow(u32::try_from(code.len()).expect("few"));
    format!("{:0>1$}", (number + by) % codes, code.len())
}

/// The value of a text field in a reply.
pub fn field(reply: &str, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(reply).expect(reply);
    match &json[name] {
        serde_json::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// The binary, in a directory of its own, without whatever is configured around the tests.
pub struct Binary {
    pub dir: TempDir,
}

impl Binary {
    pub fn new() -> Self {
        Self { dir: TempDir::new().expect("a directory") }
    }

    pub fn outbox(&self) -> PathBuf {
        self.dir.path().join("outbox")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("otpd"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTPD_") {
                command.env_remove(name);
            }
        }
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// As [`Binary::command`], for `assert_cmd`.
    pub fn assert(&self, args: &[&str]) -> assert_cmd::Command {
        assert_cmd::Command::from_std(self.command(args))
    }

    /// `otpd serve` with pipes.
    pub fn serve(&self, args: &[&str]) -> Child {
        let mut command = self.command(&["serve", "--outbox", "outbox"]);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("otpd starts")
    }
}
