//! The map of the states of all CPUs. All of them are in one value, so that the programs find theirs by arithmetic.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use anyhow::{Context, Result};
use aya::Ebpf;
use memmap2::MmapOptions;
use syscost_common::{cpu_state::CpuState, settings::Settings};

use super::{bpf, clock::monotonic_ns, cpus::possible_cpus, mapped};

/// The name of the map: the section of the object that it stands for.
pub(super) const CPUS: &str = ".data.cpus";

/// The room for `cpus` CPUs: a power of two, so that a mask keeps the number of a CPU in bounds.
pub(super) fn room_for(cpus: u32) -> u32 {
    cpus.next_power_of_two()
}

/// Replaces the object's own map, which has room for one CPU and cannot be mapped into memory, by one with room for `room`
/// CPUs. The programs refer to the map by the number of its file descriptor, which becomes that of the new map.
///
/// # Errors
/// When the kernel refuses the map.
pub(super) fn make_room(room: u32, ebpf: &Ebpf) -> Result<()> {
    let own = mapped::array_data(ebpf.map(CPUS)).context("object has no map of CPUs")?;
    let bytes = size_of::<CpuState>() as u32 * room;
    let map = bpf::create_mappable(bytes).context("cannot make the map of CPUs")?;
    let own = own.fd().as_fd().as_raw_fd();
    // SAFETY: `own` is a descriptor of ours, and stays one: of the new map. aya goes on owning it.
    let result = unsafe { libc::dup3(map.as_raw_fd(), own, libc::O_CLOEXEC) };
    if result < 0 {
        return Err(io::Error::last_os_error()).context("cannot make room for all CPUs");
    }
    Ok(())
}

/// Sets `settings` on all CPUs, before the programs run. Later, [`super::detail::DetailControl`] changes them.
///
/// # Errors
/// When the map cannot be mapped into memory.
pub(super) fn set_on_all_cpus(ebpf: &Ebpf, settings: Settings) -> Result<()> {
    let cpus = possible_cpus()? as usize;
    let map = mapped::array_data(ebpf.map(CPUS)).context("object has no map of CPUs")?;
    let fresh = CpuState::fresh(settings, monotonic_ns());
    let memory = MmapOptions::new().len(size_of::<CpuState>() * cpus).map_raw(&map.fd().as_fd());
    let memory = memory.context("cannot map the states of CPUs into memory")?;
    for cpu in 0..cpus {
        // SAFETY: inside the mapping, whose values are laid out as `CpuState`; no program runs yet.
        unsafe { memory.as_mut_ptr().cast::<CpuState>().add(cpu).write(fresh) };
    }
    Ok(())
}
