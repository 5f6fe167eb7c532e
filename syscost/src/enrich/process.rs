//! Which process is meant: a PID alone may be another one's by the time it is looked at.

use std::{fs, io};

use serde::{Deserialize, Serialize};

/// A process. A reused PID does not name the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its PID (tgid), as `/proc` has it.
    pub pid: u32,
    /// When it began: clock ticks since boot, `starttime` in `/proc/PID/stat`. A tick is 10 ms, in which no
    /// kernel goes through all PIDs.
    pub started_ticks: u64,
}

impl Process {
    /// The process that has this PID now.
    ///
    /// # Errors
    /// When there is none, or none that may be seen.
    pub fn now(pid: u32) -> io::Result<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat"))?;
        let started_ticks = started_ticks(&stat);
        let started_ticks = started_ticks.ok_or_else(|| io::Error::other("no start time"))?;
        Ok(Self { pid, started_ticks })
    }
}

/// The start time in a `/proc/PID/stat`, or in its first 1024 bytes.
pub(super) fn started_ticks(stat: &[u8]) -> Option<u64> {
    // The name stands in brackets and may hold brackets itself.
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
    // It is the 22nd of all fields; the first one here is the third.
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_what_the_kernel_says() {
        let known = procfs::process::Process::myself().unwrap().stat().unwrap();
        let own = Process::now(std::process::id()).unwrap();
        assert_eq!(own.started_ticks, known.starttime);
        assert_eq!(Process::now(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_name_does_not_move_the_fields() {
        let line = |name: &[u8]| {
            let rest = b" S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 9 0 55 1000 66\n";
            [b"7 (", name, b")", &rest[..]].concat()
        };
        for name in [&b"sleep"[..], b") R 1 2 3", b"\xff\n", b""] {
            assert_eq!(started_ticks(&line(name)), Some(55));
        }
        for broken in [&b""[..], b"7 (a)", b"7 (a) S 1", b"7 (a) \xff"] {
            assert_eq!(started_ticks(broken), None);
        }
    }
}
