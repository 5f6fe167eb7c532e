//! The targets between the moment they were named and the first call that is seen: what has ended by then
//! is taken out, and children that exist are taken in. Later, what has become of them.

use anyhow::Result;
use aya::Ebpf;
use syscost_common::scope::{PROCESS, THREAD, TargetState};

use super::{
    family::{self, Adopted},
    load::{self, Told},
    maps::Mapped,
    namespace::Namespace,
};
use crate::proc::leader_has_ended;

/// Whether the process, or the thread, that was given by an id still has it, and has not begun to exit.
pub type IsThere<'a> = &'a dyn Fn(u32) -> bool;

/// What has become of the targets.
pub(super) struct Targets {
    state: Mapped<TargetState>,
    /// Whether one is measured, which [`TargetState::id`] tells of.
    is_one: bool,
    /// Entries of the map of targets that were given.
    given: u64,
    adopted: Adopted,
}

/// Tells the programs whether the first thread of the process has ended already: without kernel BTF
/// they know another process with its PID by that.
fn settle_leader(ebpf: &mut Ebpf, told: &Told<'_>) -> Result<()> {
    let mut has_ended = false;
    // What the programs have noted meanwhile may be overwritten, so that it must be the same afterwards.
    while leader_has_ended(told.scope.id) != has_ended {
        has_ended = !has_ended;
        let leader_ended = has_ended.into();
        load::set_target_state(
            ebpf,
            TargetState { id: told.id, leader_ended, ..TargetState::default() },
        )?;
    }
    Ok(())
}

impl Targets {
    /// Looks at the targets again. From now on the programs see them fork, exec and end, so that
    /// what is true now does not change unseen. `parents`: see [`family::adopt`].
    ///
    /// # Errors
    /// When a map cannot be changed, or `/proc` cannot be read.
    pub(super) fn settle(
        ebpf: &mut Ebpf,
        told: &Told<'_>,
        parents: &[(u32, u32)],
        namespace: Option<&mut Namespace>,
        is_there: IsThere<'_>,
    ) -> Result<Self> {
        if told.request.scope.only().is_some_and(|id| !is_there(id)) {
            load::set_target_state(ebpf, TargetState::default())?;
        } else if told.offsets.is_none() {
            settle_leader(ebpf, told)?;
        }
        let mut map = load::target_map(ebpf)?;
        let mut ended_before = 0;
        for entry in &told.targets {
            if !is_there(entry.named) && map.remove(&entry.id).is_ok() {
                ended_before += 1;
            }
        }
        let adopted = if told.scope.follow == 0 {
            Adopted::default()
        } else {
            let given: Vec<_> = told.targets.iter().map(|entry| entry.id).collect();
            let adopted = family::adopt(ebpf, &given, parents, namespace)?;
            load::note_forks(ebpf, false)?;
            adopted
        };
        Ok(Self {
            state: Mapped::open(ebpf, "TARGET_STATE", 1)?,
            is_one: matches!(told.scope.mode, PROCESS | THREAD),
            given: told.targets.len() as u64 - ended_before,
            adopted,
        })
    }

    /// How many of those that were given live.
    pub(super) fn left(&self) -> u64 {
        let state = self.state.read(0);
        if self.is_one {
            (state.id != 0).into()
        } else {
            self.given.saturating_sub(state.given_ended)
        }
    }

    /// Whether one of them held a ring of io_uring's at attach; `false` where tasks cannot be listed.
    pub(super) fn held_ring(&self) -> bool {
        self.state.read(0).holds_ring != 0
    }

    /// How often a first thread's tid has become another's, on the whole host.
    pub(super) fn leaders_replaced(&self) -> u64 {
        self.state.read(0).leaders_replaced
    }

    /// How many followed children live. One counter for all CPUs: never 0 in between.
    pub(super) fn children(&self) -> u64 {
        self.state.read(0).children.wrapping_add(self.adopted.children)
    }

    /// How many children that existed were not taken in, for want of room or because `/proc` hides them.
    pub(super) fn without_room(&self) -> u64 {
        self.adopted.without_room + self.adopted.hidden
    }
}
