//! `/proc/PID/stat`, of a process or a thread: its name and its state. The name may be any bytes, so the fields
//! are found from the last bracket on.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek},
};

use crate::decode::printable::external;

/// `PF_EXITING` (include/linux/sched.h): the thread has begun to exit. Set before the hook at exit runs.
pub(crate) const PF_EXITING: u32 = 0x4;

/// Some of the fields (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The name, printable.
    pub(crate) comm: String,
    /// `R`, `S`, `T`, `Z` and so on.
    pub(crate) state: char,
    /// 0 where the parent is in another PID namespace.
    pub(crate) ppid: u32,
    /// `PF_…` (include/linux/sched.h).
    pub(crate) flags: u32,
    pub(crate) num_threads: i64,
}

impl Stat {
    /// What an open file says now.
    ///
    /// # Errors
    /// When the process or thread is gone.
    pub(crate) fn read(mut file: &File) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(512);
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Self::parse(&bytes).ok_or_else(|| io::Error::from(ErrorKind::InvalidData))
    }

    /// What the file at `path` says; `None` when the process or thread is gone.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Self::parse(&fs::read(path).ok()?)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // A name may hold brackets of its own; nothing behind it does.
        let begin = bytes.iter().position(|byte| *byte == b'(')? + 1;
        let end = bytes.iter().rposition(|byte| *byte == b')')?;
        let comm = external(bytes.get(begin..end)?);
        let rest = std::str::from_utf8(bytes.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        // The first of them is the third of all.
        Some(Self {
            comm,
            state: fields.next()?.chars().next()?,
            ppid: fields.next()?.parse().ok()?,
            flags: fields.nth(4)?.parse().ok()?,
            num_threads: fields.nth(10)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_as_the_kernel_says() {
        let stat = Stat::read(&File::open("/proc/self/stat").unwrap()).unwrap();
        let known = procfs::process::Process::myself().unwrap().stat().unwrap();
        assert_eq!((stat.ppid as i32, stat.num_threads), (known.ppid, known.num_threads));
        assert_eq!((stat.comm, stat.flags), (known.comm, known.flags));
    }

    #[test]
    fn a_name_may_be_anything() {
        let line = |name: &[u8]| {
            [b"7 (", name, b") S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 9 0 55"].concat()
        };
        for (name, shown) in [
            (&b"sleep"[..], "sleep"),
            (b"x\xff\xfe", "x\\xff\\xfe"),
            (b") R 2 (", ") R 2 ("),
            (b"a\nb\\", "a\\nb\\\\"),
            (b"", ""),
        ] {
            let expected = Stat {
                comm: shown.to_owned(),
                state: 'S',
                ppid: 1,
                flags: 4_194_304,
                num_threads: 9,
            };
            assert_eq!(Stat::parse(&line(name)), Some(expected));
        }
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"7 (a) S 1"), None);
    }
}
