//! Files that the user names. A new one belongs to the user, also under sudo.

use std::{
    env,
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{MetadataExt, fchown},
    },
    path::Path,
};

use anyhow::{Context, Result};
use nix::unistd::{getegid, geteuid};

use crate::{decode::printable, message};

/// The file of `-o`. Its contents stay until there is something to write.
pub(super) struct OutputFile {
    file: File,
    /// Whether something has been written.
    written: bool,
}

impl OutputFile {
    /// Opens `path` for writing. A new file belongs to the user who called sudo. An existing one keeps its owner, and
    /// its contents until the first write.
    ///
    /// # Errors
    /// When it cannot be opened or created.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let opened = match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => {
                if let Some(owner) = invoking_user()
                    && let Err(error) = give(&file, owner)
                {
                    // No reason to lose the measurement.
                    message::say(format_args!(
                        "cannot give {} to user {}, it belongs to root: {error}",
                        printable::path(path),
                        owner.uid
                    ));
                }
                Ok(file)
            }
            // A file, a device, a pipe, or a link to one: opened the usual way. With O_CREAT, because only then the
            // kernel protects against files of others in sticky folders (fs.protected_regular, fs.protected_fifos).
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().write(true).create(true).truncate(false).open(path)
            }
            Err(error) => Err(error),
        };
        let file = opened.with_context(|| format!("cannot write {}", printable::path(path)))?;
        Ok(Self { file, written: false })
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.written {
            self.written = true;
            // Devices and pipes cannot be truncated.
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl AsFd for OutputFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The user who called sudo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    uid: u32,
    gid: u32,
}

fn invoking_user() -> Option<Owner> {
    // Only root can give files away.
    let root = geteuid().is_root();
    root.then(|| owner(env::var_os("SUDO_UID"), env::var_os("SUDO_GID"))).flatten()
}

fn owner(uid: Option<OsString>, gid: Option<OsString>) -> Option<Owner> {
    Some(Owner { uid: id(uid)?, gid: id(gid)? })
}

fn id(text: Option<OsString>) -> Option<u32> {
    let text = text?.into_string().ok()?;
    let id = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    // The highest number is no user: for chown(2) it means "do not change".
    id.filter(|&id| id != u32::MAX)
}

fn give(file: &File, owner: Owner) -> io::Result<()> {
    // If the folder gives its group to new files (setgid), the user would have got that group too.
    let of_folder = file.metadata()?.gid() != getegid().as_raw();
    fchown(file, Some(owner.uid), (!of_folder).then_some(owner.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(uid: &str, gid: &str) -> Option<Owner> {
        owner(Some(uid.into()), Some(gid.into()))
    }

    #[test]
    fn sudo_names_its_user_by_two_numbers() {
        assert_eq!(parsed("1000", "1001"), Some(Owner { uid: 1000, gid: 1001 }));
        assert_eq!(parsed("0", "0"), Some(Owner { uid: 0, gid: 0 }));
        assert_eq!(owner(Some("1000".into()), None), None);
        assert_eq!(owner(None, Some("1000".into())), None);
        for rubbish in ["", " 1", "-1", "+1", "1x", "root", "4294967295", "4294967296"] {
            assert_eq!(parsed(rubbish, "1"), None, "{rubbish:?}");
            assert_eq!(parsed("1", rubbish), None, "{rubbish:?}");
        }
    }

    #[test]
    fn what_was_there_stays_until_something_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "older and longer").unwrap();
        drop(OutputFile::open(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"older and longer");
        let mut file = OutputFile::open(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.write_all(b"er").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        let error = OutputFile::open(&folder.path().join("no/out")).err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains("cannot write") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn what_has_no_length_is_written_as_it_is() {
        let mut null = OutputFile::open(Path::new("/dev/null")).unwrap();
        null.write_all(b"text").unwrap();
    }
}
