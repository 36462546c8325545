//! A directory of messages, one `.eml` file each, written whole or not at all.
//!
//! Files are not synced: sessions live in memory, so a message that survived a power cut would
//! carry the code of a session that did not.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::{DeliveryError, Message, Receipt, Transport};
use crate::clock::Clock;

/// An outbox. It is held by a handle, so that nothing can be slipped under its name.
pub struct Outbox {
    path: String,
    directory: OwnedFd,
    identity: (u64, u64),
    clock: Rc<dyn Clock>,
    written: u64,
}

impl Outbox {
    /// Opens the directory, making it (and its parents, all with mode 0700) if it is not there.
    ///
    /// # Errors
    /// A sentence for the operator: it can't be made or opened, is somebody else's, or others can
    /// write to it.
    pub fn open(path: &str, clock: Rc<dyn Clock>) -> Result<Self, String> {
        let explain = |err: io::Error| format!("outbox `{path}`: {err}");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(explain)?;
        let us = rustix::process::geteuid().as_raw();
        let link = rustix::fs::lstat(path).map_err(|err| explain(err.into()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty());
        let directory = directory.map_err(|err| explain(err.into()))?;
        let stat = rustix::fs::fstat(&directory).map_err(|err| explain(err.into()))?;
        let planted = FileType::from_raw_mode(link.st_mode).is_symlink() && link.st_uid != us;
        if stat.st_uid != us || planted {
            return Err(format!("outbox `{path}` belongs to somebody else"));
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
            return Err(format!("outbox `{path}` can be written to by others; `chmod go-w` it"));
        }
        Ok(Self { path: path.to_owned(), directory, identity: identity(&stat), clock, written: 0 })
    }

    fn write(&mut self, message: &Message) -> io::Result<String> {
        // A directory that was removed or replaced is neither made again nor used.
        if identity(&rustix::fs::stat(&self.path)?) != self.identity {
            return Err(io::Error::other("another directory has taken its place"));
        }
        let since = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("{:010}-{:08}-{}.eml", since.as_secs(), self.written + 1, message.token);
        let draft = format!(".{name}.tmp");
        let moved = self.write_draft(&draft, message).and_then(|()| {
            // Renaming replaces what is there, even a link; it never follows one.
            Ok(rustix::fs::renameat(&self.directory, &draft, &self.directory, &name)?)
        });
        if let Err(err) = moved {
            let _ = rustix::fs::unlinkat(&self.directory, &draft, AtFlags::empty());
            return Err(err);
        }
        self.written += 1;
        Ok(Path::new(&self.path).join(name).to_string_lossy().into_owned())
    }

    fn write_draft(&self, draft: &str, message: &Message) -> io::Result<()> {
        let open = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            rustix::fs::openat(&self.directory, draft, flags, Mode::RUSR | Mode::WUSR)
        };
        let file = match open() {
            // Left over from a simulated run that was killed: the next one has the same names.
            Err(rustix::io::Errno::EXIST) => {
                rustix::fs::unlinkat(&self.directory, draft, AtFlags::empty())?;
                open()
            }
            opened => opened,
        };
        File::from(file?).write_all(&message.bytes)
    }
}

impl Transport for Outbox {
    fn via(&self) -> &'static str {
        "outbox"
    }

    /// Whatever goes wrong here is ours and can be mended, so every failure is temporary.
    fn carry(&mut self, message: &Message) -> Result<Receipt, DeliveryError> {
        match self.write(message) {
            Ok(file) => Ok(Receipt { file: Some(file), ..Receipt::sent() }),
            Err(err) => Err(DeliveryError::without_reply(true, format!("outbox: {err}"))),
        }
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("path", &self.path).finish_non_exhaustive()
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;
    use zeroize::Zeroizing;

    use super::*;
    use crate::simulate::StoppedClock;

    fn message(token: &str) -> Message {
        let bytes = Zeroizing::new(b"Subject: hello\r\n\r\nworld\r\n".to_vec());
        Message::new("a@x.org", token, bytes)
    }

    fn opened(path: &Path) -> Result<Outbox, String> {
        Outbox::open(path.to_str().expect("UTF-8"), Rc::new(StoppedClock::default()))
    }

    fn outbox() -> (TempDir, Outbox) {
        let dir = TempDir::new().expect("a directory");
        let outbox = opened(&dir.path().join("a/b")).expect("an outbox");
        (dir, outbox)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o777
    }

    #[test]
    fn a_message_is_one_file_that_only_its_owner_reads() {
        let (dir, mut outbox) = outbox();
        let receipt = outbox.carry(&message("TOKEN")).expect("written");
        let file = receipt.file.expect("a file");
        assert!(file.ends_with("/a/b/1767225600-00000001-TOKEN.eml"), "{file}");
        assert_eq!(fs::read(&file).expect("it is there"), b"Subject: hello\r\n\r\nworld\r\n");
        assert_eq!((mode(Path::new(&file)), mode(&dir.path().join("a/b"))), (0o600, 0o700));
        assert_eq!(fs::read_dir(dir.path().join("a/b")).expect("a directory").count(), 1);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let dir = TempDir::new().expect("a directory");
        for bits in [0o770, 0o707, 0o1777] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(bits)).expect("chmod");
            assert!(opened(dir.path()).is_err_and(|why| why.contains("written to by others")));
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        assert!(opened(dir.path()).is_ok());
        assert!(opened(&dir.path().join("file-to-be")).is_ok());
        fs::write(dir.path().join("file"), "").expect("written");
        assert!(opened(&dir.path().join("file")).is_err());
    }

    #[test]
    fn a_planted_link_is_replaced_and_never_followed() {
        let (dir, mut outbox) = outbox();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        for name in ["1767225600-00000001-T.eml", ".1767225600-00000001-T.eml.tmp"] {
            symlink(&victim, dir.path().join("a/b").join(name)).expect("a link");
        }
        let file = outbox.carry(&message("T")).expect("written").file.expect("a file");
        assert_eq!(fs::read_to_string(&victim).expect("it is there"), "precious");
        assert!(fs::symlink_metadata(&file).expect("it is there").is_file());
    }

    #[test]
    fn a_directory_that_is_gone_or_replaced_fails_the_mail_and_is_not_made_again() {
        let (dir, mut outbox) = outbox();
        let path = dir.path().join("a/b");
        let away = dir.path().join("away");
        fs::rename(&path, &away).expect("moved");
        let failed = outbox.carry(&message("T")).expect_err("it is gone");
        assert!(failed.failure.temporary);
        assert!(!path.exists());
        fs::create_dir(&path).expect("made");
        assert!(outbox.carry(&message("T")).is_err(), "it was replaced");
        fs::remove_dir(&path).expect("removed");
        fs::rename(&away, &path).expect("moved back");
        assert!(outbox.carry(&message("T")).is_ok());
    }

    #[test]
    fn a_message_that_cannot_be_written_leaves_nothing_behind() {
        let (dir, mut outbox) = outbox();
        // A directory in the way of the final name makes the rename fail.
        fs::create_dir(dir.path().join("a/b/1767225600-00000001-T.eml")).expect("made");
        assert!(outbox.carry(&message("T")).is_err());
        assert_eq!(fs::read_dir(dir.path().join("a/b")).expect("a directory").count(), 1);
    }
}
