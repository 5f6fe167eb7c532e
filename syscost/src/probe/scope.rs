//! A [`Scope`] in the form that the kernel's programs take: constants and ids of the root PID namespace.

use anyhow::{Result, bail};
use syscost_common::scope;

use super::namespace::Namespace;
use crate::{decode::printable::external, scope::Scope};

/// A scope in ids of the root PID namespace.
pub(super) struct Resolved {
    /// The constants of the programs.
    pub(super) scope: scope::Scope,
    /// The entries of the map of targets.
    pub(super) targets: Vec<Entry>,
    /// [`scope::TargetState::id`].
    pub(super) id: u64,
}

/// An entry of the map of targets.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Its tgid, or tid, in this process's PID namespace.
    pub(super) named: u32,
    /// The same in the root PID namespace: the key.
    pub(super) id: u32,
    /// The value.
    pub(super) value: u32,
}

impl Scope {
    /// The constants of the programs, and the entries of the map of targets.
    ///
    /// # Errors
    /// When a process is gone, or the name is too long.
    pub(super) fn resolve(&self, namespace: Option<&Namespace>) -> Result<Resolved> {
        let root_id = |id: u32| match namespace {
            None => Ok(id),
            Some(namespace) => namespace.root_id(id),
        };
        let mut constants = scope::Scope::default();
        if let Some(namespace) = namespace {
            constants.pid_level = namespace.level;
            constants.pid_ns_dev = namespace.dev;
            constants.pid_ns_ino = namespace.ino;
        }
        let (mut targets, mut id) = (Vec::new(), 0);
        // Where processes are not named one by one, this process itself is left out.
        constants.not_tgid = match self {
            Self::Comm(_) | Self::Cgroup { .. } | Self::User(_) | Self::Host => {
                root_id(std::process::id())?
            }
            _ => 0,
        };
        match self {
            Self::Process(tgid) => {
                (constants.mode, constants.id) = (scope::PROCESS, root_id(*tgid)?);
                id = constants.id;
            }
            Self::Thread(thread) => {
                (constants.mode, constants.id) = (scope::THREAD, root_id(thread.tgid)?);
                id = root_id(thread.tid)?;
            }
            Self::Processes { tgids, follow } => {
                for tgid in tgids {
                    let id = root_id(*tgid)?;
                    targets.push(Entry { named: *tgid, id, value: scope::GIVEN });
                }
                (constants.mode, constants.follow) = (scope::PROCESSES, (*follow).into());
            }
            Self::Threads(threads) => {
                for thread in threads {
                    let (id, value) = (root_id(thread.tid)?, root_id(thread.tgid)?);
                    targets.push(Entry { named: thread.tid, id, value });
                }
                constants.mode = scope::THREADS;
            }
            Self::Comm(name) => (constants.mode, constants.comm) = (scope::COMM, comm(name)?),
            Self::Cgroup { id, level } => {
                (constants.mode, constants.cgroup_id, constants.cgroup_level) =
                    (scope::CGROUP, *id, *level);
            }
            Self::User(uid) => (constants.mode, constants.id) = (scope::USER, *uid),
            Self::Host => constants.mode = scope::HOST,
        }
        Ok(Resolved { scope: constants, targets, id: id.into() })
    }
}

/// A name in the kernel's form: 16 bytes, padded with zeroes.
fn comm(name: &str) -> Result<[u64; 2]> {
    let mut bytes = [0u8; 16];
    match bytes.get_mut(..name.len()) {
        // The kernel always sets the last byte to zero.
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

/// The printable form of a name that the kernel wrote.
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
