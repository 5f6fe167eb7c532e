//! How much detail is collected: attaches the hooks of a level, and sets the programs' settings.

use std::{mem::offset_of, os::fd::AsFd};

use anyhow::{Context, Result, bail};
use aya::Ebpf;
use memmap2::{MmapOptions, MmapRaw};
use syscost_common::{
    cpu_state::CpuState,
    settings::{self, STOPPED, SWITCHES, Settings, WAKEUPS},
};

use super::{
    clock::monotonic_ns, cpu_states::CPUS, grace::GracePeriod, hooks::sees_switches, link::Link,
    mapped,
};
use crate::sample::{Detail, DetailSample};

/// The settings before anything is attached: full detail. No setting has the number 0, which stands for hooks that
/// cannot divide latencies.
pub(super) const FIRST: Settings = settings_of(1, Detail::Full);

/// The same for hooks that cannot divide latencies into parts.
pub(super) const NO_PARTS: Settings = Settings { detail: 0, one_in: 1 };

const fn settings_of(setting: u32, level: Detail) -> Settings {
    let (seen, one_in) = match level {
        Detail::Full => (SWITCHES | WAKEUPS, 1),
        Detail::NoRunq => (SWITCHES, 1),
        Detail::NoOnCpu => (0, 1),
        Detail::Sampling(one_in) => (0, one_in),
    };
    Settings { detail: settings::detail(setting, seen), one_in }
}

/// The setting in force.
pub(super) struct DetailControl {
    /// The map `CPUS`, from which the programs read their settings.
    memory: MmapRaw,
    cpus: u32,
    /// Whether these hooks can divide latencies into parts.
    parts: bool,
    setting: u32,
    level: Detail,
    /// Since when wake-ups are not seen, ns of CLOCK_MONOTONIC, and for how long they were not before that, ns.
    without_wakeups: (Option<u64>, u64),
}

impl DetailControl {
    /// For hooks that have just been attached; tells their programs so. `parts`: whether the hooks can divide latencies
    /// into parts.
    pub(super) fn new(ebpf: &Ebpf, cpus: u32, parts: bool) -> Result<Self> {
        let map = mapped::array_data(ebpf.map(CPUS)).context("object has no map of CPUs")?;
        let bytes = size_of::<CpuState>() * cpus as usize;
        let mapped = MmapOptions::new().len(bytes).map_raw(&map.fd().as_fd());
        let memory = mapped.context("cannot map CPUS into memory")?;
        let control = Self {
            memory,
            cpus,
            parts,
            setting: 1,
            level: Detail::Full,
            without_wakeups: (None, 0),
        };
        control.tell(offset_of!(CpuState, ledger.sees_enters), 1_u64);
        Ok(control)
    }

    /// Whether context switches are seen.
    pub(super) fn sees_switches(&self) -> bool {
        self.parts && sees_switches(self.level)
    }

    pub(super) fn sample(&self) -> DetailSample {
        let (since, before) = self.without_wakeups;
        let now = since.map_or(0, |since| monotonic_ns().saturating_sub(since));
        DetailSample { parts: self.parts, level: self.level, without_wakeups_ns: before + now }
    }

    /// Collects as much as `level` says from now on.
    pub(super) fn set(
        &mut self,
        level: Detail,
        ebpf: &mut Ebpf,
        links: &mut [Link],
        grace_period: &GracePeriod,
    ) -> Result<()> {
        if !self.parts {
            bail!("these hooks have only one level of detail");
        }
        if level == self.level {
            return Ok(());
        }
        // Attach what the new level needs before switching, and detach what it does not need after: a setting only
        // holds while all of its hooks are attached.
        for link in links.iter_mut().filter(|link| link.hook().is_used_at(level)) {
            link.reattach(ebpf)?;
        }
        self.setting += 1;
        self.tell(offset_of!(CpuState, ledger.settings), settings_of(self.setting, level));
        if !sees_switches(level) {
            // A note of a thread out of scope holds until its switch-out. So none may be left when switches are no longer
            // seen, not even by a program that began under the old setting.
            grace_period.wait();
            self.tell(offset_of!(CpuState, cache.out_of_scope_regs), 0_u64);
        }
        links.iter_mut().filter(|link| !link.hook().is_used_at(level)).for_each(Link::detach);
        self.level = level;
        let (since, before) = &mut self.without_wakeups;
        match (level, *since) {
            (Detail::Full, Some(at)) => {
                (*since, *before) = (None, *before + monotonic_ns().saturating_sub(at));
            }
            (Detail::Full, None) | (_, Some(_)) => {}
            (_, None) => *since = Some(monotonic_ns()),
        }
        Ok(())
    }

    /// Makes the programs record nothing from now on. This cannot be undone.
    pub(super) fn stop(&self) {
        let Settings { detail, .. } =
            if self.parts { settings_of(self.setting, self.level) } else { NO_PARTS };
        self.tell(offset_of!(CpuState, ledger.settings), Settings { detail, one_in: STOPPED });
    }

    /// Writes a word of eight bytes to the entry of each CPU, `at` bytes into it.
    fn tell<T: Copy>(&self, at: usize, word: T) {
        const { assert!(size_of::<T>() == 8) };
        for cpu in 0..self.cpus as usize {
            let at = cpu * size_of::<CpuState>() + at;
            // SAFETY: inside the mapping, whose values are laid out as `CpuState` by the shared
            // declaration; aligned to 8 bytes, so that the programs see the one word or the other.
            unsafe { self.memory.as_mut_ptr().add(at).cast::<T>().write_volatile(word) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_goes_without_more_than_the_one_before() {
        let [full, no_runq, no_on_cpu, sampling, rarely] =
            Detail::ALL.map(|level| settings_of(5, level));
        assert!(settings::sees_wakeups(full.detail) && settings::sees_switches(full.detail));
        assert!(!settings::sees_wakeups(no_runq.detail) && settings::sees_switches(no_runq.detail));
        assert!(!settings::sees_switches(no_on_cpu.detail) && no_on_cpu.one_in == 1);
        assert!(!settings::sees_switches(sampling.detail) && sampling.one_in.is_power_of_two());
        assert!(sampling.one_in > 1);
        assert_eq!(rarely.detail, sampling.detail);
        assert!(rarely.one_in.is_power_of_two() && rarely.one_in > sampling.one_in);
    }

    #[test]
    fn no_two_settings_look_the_same_to_the_programs() {
        let all: Vec<u32> = (1..4)
            .flat_map(|setting| Detail::ALL[..3].iter().map(move |level| (setting, *level)))
            .map(|(setting, level)| settings_of(setting, level).detail)
            .collect();
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len());
        assert!(!all.contains(&0));
    }
}
