//! Files that the user asks for by name: made as the user's own, also under sudo.

use std::{
    env,
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, fchown},
    path::Path,
};

use anyhow::{Context, Result};
use nix::unistd::{getegid, geteuid};

/// Opens `path` for writing, empty. A file that was not there before belongs to who called sudo;
/// one that was keeps its owner.
pub(super) fn create(path: &Path) -> Result<File> {
    let opened = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => {
            if let Some(owner) = invoking_user()
                && let Err(error) = give(&file, owner)
            {
                // The numbers are worth more than whose they are.
                eprintln!(
                    "syscost: cannot give {} to user {}, it belongs to root: {error}",
                    path.display(),
                    owner.uid
                );
            }
            Ok(file)
        }
        // A file, a device, a pipe or a link to one: opened the usual way. That this may create as
        // well is on purpose: it is what the kernel's protection of files in sticky folders
        // (fs.protected_regular, fs.protected_fifos) goes by.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => File::create(path),
        Err(error) => Err(error),
    };
    opened.with_context(|| format!("cannot write {}", path.display()))
}

/// Who called sudo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    uid: u32,
    gid: u32,
}

fn invoking_user() -> Option<Owner> {
    // Only root has files to give away.
    let root = geteuid().is_root();
    root.then(|| owner(env::var_os("SUDO_UID"), env::var_os("SUDO_GID"))).flatten()
}

fn owner(uid: Option<OsString>, gid: Option<OsString>) -> Option<Owner> {
    Some(Owner { uid: id(uid)?, gid: id(gid)? })
}

fn id(text: Option<OsString>) -> Option<u32> {
    let text = text?.into_string().ok()?;
    let id = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    // The last number is nobody's: to chown(2) it means "leave it".
    id.filter(|&id| id != u32::MAX)
}

fn give(file: &File, owner: Owner) -> io::Result<()> {
    // A folder may give its group to the files in it (setgid); the user would have got that too.
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
    fn what_was_there_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "old").unwrap();
        drop(create(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let error = format!("{:#}", create(&folder.path().join("no/out")).unwrap_err());
        assert!(error.contains("cannot write") && error.contains("No such file"), "{error}");
    }
}
