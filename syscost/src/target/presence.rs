//! Whether there is anything to measure at the moment.

use std::fs;

use super::{Target, cgroup::Cgroup, container::Container};
use crate::proc;

impl Target {
    /// Whether there is a process to measure; `true` if that is unknown.
    pub fn is_present(&self) -> bool {
        match self {
            Self::Comm(name) => any(|pid| is_called(pid, name.as_bytes())),
            Self::User(user) => any(|pid| real_uid(pid) == Some(user.uid)),
            Self::Cgroup(cgroup) | Self::Container(Container { cgroup, .. }) => {
                is_populated(cgroup).unwrap_or(true)
            }
            // Their end is seen by other means.
            Self::Processes { .. } | Self::Threads(_) | Self::Command { .. } | Self::Host => true,
        }
    }

    /// How many living children the given processes have; 0 if children are measured.
    pub fn unmeasured_children(&self) -> usize {
        match self {
            Self::Processes { given, follow: false } => {
                let pids: Vec<u32> = given.iter().map(|process| process.pid).collect();
                proc::children_of(&pids)
            }
            _ => 0,
        }
    }
}

/// Whether `is_like` holds for any process but this one; `true` if processes cannot be listed.
fn any(is_one: impl Fn(u32) -> bool) -> bool {
    let own = std::process::id();
    let Ok(pids) = proc::pids() else { return true };
    pids.into_iter().any(|pid| pid != own && is_one(pid))
}

/// Names may be any bytes; the kernel ends them with a line break.
fn is_called(pid: u32, name: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.strip_suffix(b"\n") == Some(name))
}

fn real_uid(pid: u32) -> Option<u32> {
    uid_in(&fs::read(format!("/proc/{pid}/status")).ok()?)
}

/// The first number of the line `Uid:` of a `/proc/PID/status`, whose name may be any bytes.
fn uid_in(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// Whether a process is in the cgroup or below it; the root has no such file.
fn is_populated(cgroup: &Cgroup) -> Option<bool> {
    let events = fs::read_to_string(cgroup.directory().ok()?.join("cgroup.events")).ok()?;
    Some(events.lines().any(|line| line == "populated 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::user::User;

    #[test]
    fn what_nobody_is_is_not_present() {
        let user = |uid| Target::User(User { uid, name: None });
        assert!(!user(3_999_999_999).is_present());
        assert!(user(0).is_present());
        assert!(!Target::Comm("no*body".to_owned()).is_present());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(is_called(std::process::id(), own_name().as_bytes()));
        let process = crate::target::Process::resolve(std::process::id()).unwrap();
        let given = Target::Processes { given: vec![process], follow: false };
        assert!(given.unmeasured_children() >= 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn own_name() -> String {
        let name = fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
        name.trim_end_matches('\n').to_owned()
    }

    #[test]
    fn the_real_uid_is_the_first_one() {
        assert_eq!(uid_in(b"Name:\t\xff\nUid:\t1000\t0\t0\t0\n"), Some(1000));
        assert_eq!(uid_in(b"Name:\tx\n"), None);
    }
}
