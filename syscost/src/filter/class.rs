//! The classes of system calls of strace: `%file`, `%network` and so on.
//!
//! Which calls are in a class is in the [table of syscalls](crate::decode::syscall).

use crate::decode::syscall::Syscall;

/// A class of calls.
pub struct Class {
    /// Its name, as in `%file`.
    pub name: &'static str,
    /// Its name in the table of syscalls.
    column: &'static str,
}

/// Every class.
pub const CLASSES: &[Class] = &[
    Class { name: "%file", column: "file" },
    Class { name: "%desc", column: "desc" },
    Class { name: "%network", column: "network" },
    Class { name: "%net", column: "network" },
    Class { name: "%process", column: "process" },
    Class { name: "%signal", column: "signal" },
    Class { name: "%memory", column: "memory" },
    Class { name: "%ipc", column: "ipc" },
    Class { name: "%clock", column: "clock" },
    Class { name: "%creds", column: "creds" },
    Class { name: "%pure", column: "pure" },
    Class { name: "%stat", column: "stat" },
    Class { name: "%lstat", column: "lstat" },
    Class { name: "%fstat", column: "fstat" },
    Class { name: "%%stat", column: "stat-like" },
    Class { name: "%statfs", column: "statfs" },
    Class { name: "%fstatfs", column: "fstatfs" },
    Class { name: "%%statfs", column: "statfs-like" },
];

/// The classes that can also be written without a percent sign, as before strace 4.17.
const BARE: &[&str] = &["desc", "file", "memory", "process", "signal", "ipc", "network"];

impl Class {
    /// The class called `name`, in capitals or not. `signal` and `ipc` mean the class, not the call.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        let bare = BARE.iter().any(|bare| bare.eq_ignore_ascii_case(name));
        CLASSES.iter().find(|class| {
            let known = if bare { &class.name[1..] } else { class.name };
            known.eq_ignore_ascii_case(name)
        })
    }

    /// Whether `call` is in it.
    pub(super) fn has(&self, call: &Syscall) -> bool {
        call.classes().any(|class| class == self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::syscall;

    #[test]
    fn every_class_has_calls_and_every_call_is_in_known_classes() {
        for class in CLASSES {
            assert!(syscall::all().any(|call| class.has(call)), "{}", class.name);
        }
        for call in syscall::all() {
            for class in call.classes() {
                assert!(CLASSES.iter().any(|known| known.column == class), "{class}");
            }
        }
    }

    #[test]
    fn calls_are_in_the_classes_that_strace_puts_them_in() {
        let classes = |name: &str| {
            let of_name = || syscall::all().filter(|call| call.name == name);
            let with = CLASSES.iter().filter(|class| of_name().any(|call| class.has(call)));
            with.map(|class| class.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(classes("openat"), "%file %desc");
        assert_eq!(classes("mmap"), "%desc %memory");
        assert_eq!(classes("mmap2"), "%desc %memory");
        assert_eq!(classes("sendfile"), "%desc %network %net");
        // strace looks into it: all that it can do is in the class.
        assert_eq!(classes("socketcall"), "%desc %network %net");
        assert_eq!(classes("shmat"), "%memory %ipc");
        assert_eq!(classes("kill"), "%process %signal");
        assert_eq!(classes("waitpid"), "%process");
        assert_eq!(classes("stat64"), "%file %stat %%stat");
        assert_eq!(classes("newfstatat"), "%file %desc %fstat %%stat");
        assert_eq!(classes("ustat"), "%%statfs");
        assert_eq!(classes("getuid32"), "%creds %pure");
        assert_eq!(classes("gettimeofday"), "%clock");
        assert_eq!(classes("clock_nanosleep"), "");
        assert_eq!(classes("futex"), "");
    }

    #[test]
    fn old_names_need_no_percent_sign() {
        let named = |name| Class::named(name).map(|class| class.name);
        assert_eq!(named("file"), Some("%file"));
        assert_eq!(named("IPC"), Some("%ipc"));
        assert_eq!(named("%Net"), Some("%net"));
        assert_eq!(named("stat"), None);
        assert_eq!(named("clock"), None);
        assert_eq!(named("%"), None);
        assert_eq!(named(""), None);
    }
}
