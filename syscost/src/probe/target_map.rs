//! The maps by which the programs know the targets, written before any call is seen.

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use syscost_common::scope::TargetState;

use super::{
    object::{self, Bytes},
    scope::Resolved,
};

/// Enters the targets of a scope.
pub(super) fn fill(ebpf: &mut Ebpf, resolved: &Resolved) -> Result<()> {
    set_state(ebpf, TargetState { id: resolved.id, ..TargetState::default() })?;
    let mut map = targets(ebpf)?;
    for entry in &resolved.targets {
        map.insert(entry.id, entry.value, 0).context("cannot enter the targets")?;
    }
    Ok(())
}

/// The map of targets. It can be changed until privileges are given up.
pub(super) fn targets(ebpf: &mut Ebpf) -> Result<HashMap<&mut MapData, u32, u32>> {
    Ok(HashMap::try_from(object::map(ebpf, "TARGETS")?)?)
}

/// Sets the state of the only target.
pub(super) fn set_state(ebpf: &mut Ebpf, state: TargetState) -> Result<()> {
    let mut map: Array<&mut MapData, Bytes<TargetState>> =
        Array::try_from(object::map(ebpf, "TARGET_STATE")?)?;
    map.set(0, Bytes(state), 0).context("cannot set the state of the targets")
}

/// Sets whether the programs note all forks on the host.
pub(super) fn note_forks(ebpf: &mut Ebpf, wanted: bool) -> Result<()> {
    let mut map: Array<&mut MapData, u32> = Array::try_from(object::map(ebpf, "NOTES_FORKS")?)?;
    map.set(0, u32::from(wanted), 0).context("cannot set whether forks are noted")
}

/// The forks noted since [`note_forks`], each as a child and its parent.
pub(super) fn forks(ebpf: &mut Ebpf) -> Result<Vec<(u32, u32)>> {
    let map: HashMap<&mut MapData, u32, u32> = HashMap::try_from(object::map(ebpf, "FORKS")?)?;
    map.iter().collect::<Result<_, _>>().context("cannot read which processes were forked")
}
