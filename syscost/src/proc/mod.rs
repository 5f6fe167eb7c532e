//! What `/proc` says about processes, and whether it is the `/proc` of this PID namespace.

pub(crate) mod stat;
mod tree;

use std::{fs, io, os::unix::fs::MetadataExt};

use anyhow::{Context, Result, bail};
pub(crate) use tree::{
    children_listed_by, children_of, leader_has_ended, lives, parents, pids, within,
};

/// The inode of the root PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
pub(crate) const ROOT_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Where a process sees its own PID namespace.
pub(crate) const OWN_PID_NAMESPACE: &str = "/proc/self/ns/pid";

/// Whether this process lives in the root PID namespace.
pub(crate) fn is_in_root_namespace() -> bool {
    fs::metadata(OWN_PID_NAMESPACE).is_ok_and(|own| own.ino() == ROOT_PID_NAMESPACE)
}

/// Whether `/proc` numbers processes as this PID namespace does.
pub(crate) fn is_own() -> bool {
    let own = std::process::id().to_string();
    fs::read_link("/proc/self").is_ok_and(|target| target.as_os_str() == own.as_str())
}

/// # Errors
/// When there is no `/proc`, or it is that of another PID namespace: then what it says of a PID is
/// about another process than the one that the kernel means.
pub(crate) fn require() -> Result<()> {
    let status = match fs::read("/proc/self/status") {
        Ok(status) => status,
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("cannot read /proc/self/status");
        }
        Err(_) if fs::symlink_metadata("/proc/self").is_ok() => bail!(FOREIGN),
        Err(_) => bail!(
            "/proc is not mounted, and tells which processes there are: mount -t proc proc /proc"
        ),
    };
    // Our PIDs from the namespace of that /proc down to our own.
    let ids = field(&status, b"NSpid:").context("no NSpid in /proc/self/status")?;
    let ids: Vec<&str> = ids.split_ascii_whitespace().collect();
    if ids != [std::process::id().to_string()] {
        bail!(FOREIGN);
    }
    Ok(())
}

const FOREIGN: &str = "/proc is that of another PID namespace, so that it names other processes by \
                       these PIDs: mount -t proc proc /proc (unshare --mount-proc), or run syscost \
                       outside";

/// The process that the process or thread `pid` belongs to.
///
/// # Errors
/// When it is not there, or may not be seen.
pub(crate) fn tgid(pid: u32) -> io::Result<u32> {
    let status = fs::read(format!("/proc/{pid}/status"))?;
    let tgid = field(&status, b"Tgid:").and_then(|tgid| tgid.trim().parse().ok());
    tgid.ok_or_else(|| io::Error::other("its status has no Tgid"))
}

/// A field of a status that begins a line. The name is in the file too, any bytes but a line break.
fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let value = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_its_own_proc() {
        require().unwrap();
        assert_eq!(tgid(std::process::id()).unwrap(), std::process::id());
        assert_eq!(tgid(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_name_is_no_field() {
        let status = b"Name:\tTgid:\t5\\n\xff\nTgid:\t7\n";
        assert_eq!(field(status, b"Tgid:").map(str::trim), Some("7"));
    }
}
