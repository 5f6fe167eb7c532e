//! Whose calls to measure, as the kernel's programs are told.

use anyhow::{Result, bail};
use syscost_common::scope;

use super::namespace::Namespace;
use crate::decode::printable::external;

/// Whose calls to measure. Ids are those of this process's PID namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All threads of a process: its tgid.
    Process(u32),
    /// One thread.
    Thread(ThreadId),
    /// All threads of some processes.
    Processes {
        /// Their tgids.
        tgids: Vec<u32>,
        /// Whether the children they fork come into scope.
        follow: bool,
    },
    /// Some threads.
    Threads(Vec<ThreadId>),
    /// All processes of a name: at most 15 bytes.
    Comm(String),
    /// All tasks in a cgroup of the unified hierarchy and below it.
    Cgroup {
        /// The inode number of its directory.
        id: u64,
        /// How deep it lies; 0 for the root.
        level: u32,
    },
    /// All processes of a real uid.
    User(u32),
    /// All processes; inside a PID namespace, those of that namespace.
    Host,
}

/// A thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId {
    /// Its tid.
    pub tid: u32,
    /// The tgid of its process.
    pub tgid: u32,
}

/// A scope in the root namespace's ids.
pub(super) struct Resolved {
    /// What the programs are told as constants.
    pub(super) scope: scope::Scope,
    /// What the map of targets is filled with.
    pub(super) targets: Vec<Entry>,
    /// [`scope::TargetState::id`].
    pub(super) id: u64,
}

/// An entry of the map of targets.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Its tgid, or tid, in this process's PID namespace.
    pub(super) named: u32,
    /// The same in the root one: the key.
    pub(super) id: u32,
    /// The value.
    pub(super) value: u32,
}

impl Scope {
    /// The id of the only process, or thread, that is given; `None` where there may be several.
    pub(super) fn only(&self) -> Option<u32> {
        match self {
            Self::Process(tgid) => Some(*tgid),
            Self::Thread(thread) => Some(thread.tid),
            _ => None,
        }
    }

    /// What the programs are told, and the targets to enter into their map.
    ///
    /// # Errors
    /// When a process is gone already.
    pub(super) fn resolve(&self, namespace: Option<&Namespace>) -> Result<Resolved> {
        let root_id = |id: u32| match namespace {
            None => Ok(id),
            Some(namespace) => namespace.root_id(id),
        };
        let mut told = scope::Scope::default();
        if let Some(namespace) = namespace {
            told.pid_level = namespace.level;
            told.pid_ns_dev = namespace.dev;
            told.pid_ns_ino = namespace.ino;
        }
        let (mut targets, mut id) = (Vec::new(), 0);
        // Nobody looks for the tracer among all the others.
        told.not_tgid = match self {
            Self::Comm(_) | Self::Cgroup { .. } | Self::User(_) | Self::Host => {
                root_id(std::process::id())?
            }
            _ => 0,
        };
        match self {
            Self::Process(tgid) => {
                (told.mode, told.id) = (scope::PROCESS, root_id(*tgid)?);
                id = told.id;
            }
            Self::Thread(thread) => {
                (told.mode, told.id) = (scope::THREAD, root_id(thread.tgid)?);
                id = root_id(thread.tid)?;
            }
            Self::Processes { tgids, follow } => {
                for tgid in tgids {
                    let id = root_id(*tgid)?;
                    targets.push(Entry { named: *tgid, id, value: scope::GIVEN });
                }
                (told.mode, told.follow) = (scope::PROCESSES, (*follow).into());
            }
            Self::Threads(threads) => {
                for thread in threads {
                    let (id, value) = (root_id(thread.tid)?, root_id(thread.tgid)?);
                    targets.push(Entry { named: thread.tid, id, value });
                }
                told.mode = scope::THREADS;
            }
            Self::Comm(name) => (told.mode, told.comm) = (scope::COMM, comm(name)?),
            Self::Cgroup { id, level } => {
                (told.mode, told.cgroup_id, told.cgroup_level) = (scope::CGROUP, *id, *level);
            }
            Self::User(uid) => (told.mode, told.id) = (scope::USER, *uid),
            Self::Host => told.mode = scope::HOST,
        }
        Ok(Resolved { scope: told, targets, id: id.into() })
    }

    /// Whether it takes kernel BTF to tell who is in it, or who comes into it.
    pub(super) fn takes_btf(&self) -> bool {
        !matches!(self, Self::Process(_))
    }
}

/// A name as the kernel keeps it: 16 bytes, the rest of them zero.
fn comm(name: &str) -> Result<[u64; 2]> {
    let mut bytes = [0u8; 16];
    match bytes.get_mut(..name.len()) {
        // The last byte is always zero.
        Some(place) if name.len() < 16 => place.copy_from_slice(name.as_bytes()),
        _ => bail!("{name}: the kernel keeps names of at most 15 bytes"),
    }
    Ok(words(bytes))
}

fn words(bytes: [u8; 16]) -> [u64; 2] {
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| u64::from_ne_bytes(half.try_into().expect("8 bytes"));
    [word(low), word(high)]
}

/// The name in words that the kernel wrote, printable.
pub(super) fn name(words: [u64; 2]) -> String {
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    external(&bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_as_the_kernel_keeps_them() {
        assert_eq!(comm("a").unwrap(), [u64::from_ne_bytes(*b"a\0\0\0\0\0\0\0"), 0]);
        assert_eq!(name(comm("fifteen-letters").unwrap()), "fifteen-letters");
        assert!(comm("sixteen-letters!").is_err());
    }
}
