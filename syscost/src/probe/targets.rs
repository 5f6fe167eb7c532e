//! The targets: looked at again while the hooks are attached, because some may have ended and others may have
//! children. Later, how many of them live.

use anyhow::Result;
use aya::Ebpf;
use syscost_common::scope::{PROCESS, THREAD, TargetState};

use super::{
    family::{self, Adopted},
    load::LoadPlan,
    mapped::Mapped,
    namespace::Namespace,
    scope::Resolved,
    target_map,
};
use crate::proc::leader_has_ended;

/// Whether the process, or the thread, that was given by an id still has it, and has not begun to exit.
pub type IsThere<'a> = &'a dyn Fn(u32) -> bool;

/// The targets of attached programs.
pub(super) struct Targets {
    state: Mapped<TargetState>,
    /// Whether there is only one, whose state [`TargetState::id`] shows.
    is_one: bool,
    /// How many were given and lived when the hooks were attached; only where there may be several.
    given: u64,
    adopted: Adopted,
}

impl Targets {
    /// Looks at the targets again, once the hooks see them fork, exec and end: from then on nothing changes unseen.
    /// Removes those that have ended, and enters children that exist where children are followed. `parents`: see
    /// [`family::adopt`].
    ///
    /// # Errors
    /// When a map cannot be changed, or `/proc` cannot be read.
    pub(super) fn check(
        ebpf: &mut Ebpf,
        plan: &LoadPlan<'_>,
        parents: &[(u32, u32)],
        namespace: Option<&mut Namespace>,
        is_there: IsThere<'_>,
    ) -> Result<Self> {
        let Resolved { scope, targets, .. } = plan.resolved;
        if plan.request.scope.only().is_some_and(|id| !is_there(id)) {
            target_map::set_state(ebpf, TargetState::default())?;
        } else if plan.offsets.is_none() {
            check_leader(ebpf, plan.resolved)?;
        }
        let mut map = target_map::targets(ebpf)?;
        let mut ended_before = 0;
        for entry in targets {
            if !is_there(entry.named) && map.remove(&entry.id).is_ok() {
                ended_before += 1;
            }
        }
        let adopted = if scope.follow == 0 {
            Adopted::default()
        } else {
            let given: Vec<_> = targets.iter().map(|entry| entry.id).collect();
            let adopted = family::adopt(ebpf, &given, parents, namespace)?;
            target_map::note_forks(ebpf, false)?;
            adopted
        };
        Ok(Self {
            state: Mapped::open(ebpf, "TARGET_STATE", 1)?,
            is_one: matches!(scope.mode, PROCESS | THREAD),
            given: targets.len() as u64 - ended_before,
            adopted,
        })
    }

    /// How many of the given processes, or threads, live.
    pub(super) fn left(&self) -> u64 {
        let state = self.state.read(0);
        if self.is_one {
            (state.id != 0).into()
        } else {
            self.given.saturating_sub(state.given_ended)
        }
    }

    /// Whether a target held a ring of io_uring at attach; `false` where tasks cannot be listed.
    pub(super) fn held_ring(&self) -> bool {
        self.state.read(0).holds_ring != 0
    }

    /// How often, on the whole host, another thread has got the tid of the first thread of its process, by an exec.
    pub(super) fn leaders_replaced(&self) -> u64 {
        self.state.read(0).leaders_replaced
    }

    /// How many followed children live. The programs count in one word for all CPUs, so that it is not 0 while one
    /// child ends on one CPU and another begins on another CPU.
    pub(super) fn children(&self) -> u64 {
        self.state.read(0).children.wrapping_add(self.adopted.children)
    }

    /// How many existing children are not measured: the map is full, or `/proc` hides them.
    pub(super) fn without_room(&self) -> u64 {
        self.adopted.without_room + self.adopted.hidden
    }
}

/// Tells the programs whether the first thread of the process has ended already. Without kernel BTF this
/// tells them when another process has got the PID.
fn check_leader(ebpf: &mut Ebpf, resolved: &Resolved) -> Result<()> {
    let mut has_ended = false;
    // Writing the state may overwrite what the programs have noted meanwhile. So look again afterwards.
    while leader_has_ended(resolved.scope.id) != has_ended {
        has_ended = !has_ended;
        let leader_ended = has_ended.into();
        let state = TargetState { id: resolved.id, leader_ended, ..TargetState::default() };
        target_map::set_state(ebpf, state)?;
    }
    Ok(())
}
