//! Gives up the capabilities that attaching needs and measuring does not.

use anyhow::{Context, Result};
use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::sys::prctl;

use crate::probe::preflight::perf_takes_admin;

/// Keeps other processes of the same user from tracing this one, reading its memory, or taking its descriptors
/// (ptrace(2), "Ptrace access mode checking"). To be called before anything is loaded.
///
/// While this process has capabilities, processes without them are kept out anyway. But the capabilities are given
/// up, and what they were used for stays: maps, programs, links, and kernel addresses in mapped memory. The kernel
/// does the same by itself for a program whose file gives it more capabilities, unless `fs.suid_dumpable` is 1. A
/// command that this process starts can be traced as usual after its `execve`.
///
/// # Errors
/// When the kernel refuses, which only a filter of system calls makes it do.
pub(super) fn close_to_others() -> Result<()> {
    prctl::set_dumpable(false)
        .context("cannot protect this process: a filter of system calls must allow prctl")
}

/// Gives up every capability of this thread for good. If `works` returns false after that, CAP_BPF is kept.
///
/// Capabilities belong to threads. To be called while there is only this thread, so that all later ones inherit what
/// is left.
///
/// # Errors
/// When the kernel refuses, which only a filter of system calls makes it do.
pub(super) fn give_up(works: impl FnOnce() -> bool) -> Result<()> {
    give_up_but(&CapsHashSet::new(), works).map(drop)
}

/// Capabilities that are permitted, and effective only while they are used.
#[derive(Clone, Debug)]
pub(super) struct SetAside {
    /// The permitted ones.
    aside: CapsHashSet,
    /// Those of them that stay effective, because this kernel asks for them at every reading. Empty on most kernels.
    needed: CapsHashSet,
}

/// What capabilities are set aside for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purpose {
    /// Attaching to another process.
    pub(super) attaching: bool,
    /// Measuring what the programs cost, and detaching and attaching some of them for `--max-overhead`.
    pub(super) budget: bool,
}

impl SetAside {
    /// Gives up every capability of this thread, as [`give_up`] does, except those that `purpose` needs.
    ///
    /// # Errors
    /// As for [`give_up`].
    pub(super) fn for_purpose(purpose: Purpose, works: impl FnOnce() -> bool) -> Result<Self> {
        let permitted = caps::read(None, CapSet::Permitted)?;
        let mut aside = CapsHashSet::new();
        if purpose.attaching {
            aside.extend(to_attach(&permitted, perf_takes_admin()));
        }
        if purpose.budget {
            aside.extend(to_keep_a_budget(&permitted));
        }
        let needed = give_up_but(&aside, works)?;
        Ok(Self { aside, needed })
    }

    /// Makes the capabilities effective.
    ///
    /// # Errors
    /// When the kernel refuses, which only a filter of system calls makes it do.
    pub(super) fn raise(&self) -> Result<()> {
        caps::set(None, CapSet::Effective, &self.aside).context("cannot take up privileges again")
    }

    /// Makes them no longer effective, except those that each reading needs.
    ///
    /// # Errors
    /// As for [`SetAside::raise`].
    pub(super) fn lower(&self) -> Result<()> {
        caps::set(None, CapSet::Effective, &self.needed)
            .context("cannot lay privileges aside again")
    }
}

/// The permitted capabilities with which the run times of programs can be read, and a loaded program attached again.
fn to_keep_a_budget(permitted: &CapsHashSet) -> CapsHashSet {
    let admin = Some(Capability::CAP_SYS_ADMIN).filter(|admin| permitted.contains(admin));
    kept(permitted).into_iter().chain(admin).collect()
}

/// The permitted capabilities for three tasks: load programs; look into all processes, also where /proc hides the
/// processes of other users; use perf where CAP_PERFMON is not enough for it.
fn to_attach(permitted: &CapsHashSet, perf_takes_admin: bool) -> CapsHashSet {
    let perfmon = [Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN];
    let perfmon = perfmon.into_iter().find(|capability| permitted.contains(capability));
    let ptrace = Some(Capability::CAP_SYS_PTRACE);
    let admin = perf_takes_admin.then_some(Capability::CAP_SYS_ADMIN);
    let if_there = ptrace.into_iter().chain(admin).filter(|other| permitted.contains(other));
    kept(permitted).into_iter().chain(perfmon).chain(if_there).collect()
}

/// Returns the capabilities that stay effective.
fn give_up_but(aside: &CapsHashSet, works: impl FnOnce() -> bool) -> Result<CapsHashSet> {
    prctl::set_no_new_privs()
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(drop_capabilities(aside, works)?))
        .context("cannot give up privileges: a filter of system calls must allow prctl and capset")
}

fn drop_capabilities(
    aside: &CapsHashSet,
    works: impl FnOnce() -> bool,
) -> Result<CapsHashSet, CapsError> {
    // The bounding set limits what a program that is executed later can get. Without CAP_SETPCAP it cannot be
    // cleared; then no-new-privs prevents the same.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // Older kernels require CAP_BPF for reading about one's own programs if kernel.unprivileged_bpf_disabled is set.
    // This is tried instead of comparing versions, because distributions port the fix, and change the setting.
    let kept = kept(&caps::read(None, CapSet::Permitted)?);
    caps::clear(None, CapSet::Effective)?;
    caps::set(None, CapSet::Permitted, &kept.union(aside).copied().collect())?;
    if works() {
        caps::set(None, CapSet::Permitted, aside)?;
        return Ok(CapsHashSet::new());
    }
    caps::set(None, CapSet::Effective, &kept)?;
    Ok(kept)
}

/// CAP_BPF, or CAP_SYS_ADMIN where that is permitted instead.
fn kept(permitted: &CapsHashSet) -> CapsHashSet {
    let passes = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN];
    passes.into_iter().find(|capability| permitted.contains(capability)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn set(which: CapSet) -> CapsHashSet {
        caps::read(None, which).unwrap()
    }

    // Each test runs in a thread of its own, because capabilities belong to threads. What there is to give up depends
    // on the user who runs the tests.

    #[test]
    fn nothing_is_left() {
        thread::spawn(|| {
            let bounding = set(CapSet::Bounding);
            let may_drop = set(CapSet::Effective).contains(&Capability::CAP_SETPCAP);
            give_up(|| {
                assert!(set(CapSet::Effective).is_empty(), "tried with nothing");
                true
            })
            .unwrap();
            for which in
                [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient]
            {
                assert!(set(which).is_empty(), "{which:?}");
            }
            let left = if may_drop { CapsHashSet::new() } else { bounding };
            assert_eq!(set(CapSet::Bounding), left);
            assert!(prctl::get_no_new_privs().unwrap());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn cap_bpf_alone_is_kept_where_it_is_needed() {
        thread::spawn(|| {
            let kept = kept(&set(CapSet::Permitted));
            give_up(|| false).unwrap();
            assert_eq!(set(CapSet::Permitted), kept);
            assert_eq!(set(CapSet::Effective), kept);
            assert!(set(CapSet::Inheritable).is_empty());
            assert!(set(CapSet::Ambient).is_empty());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_attaching_takes_is_laid_aside_and_taken_up_again() {
        thread::spawn(|| {
            let aside = to_attach(&set(CapSet::Permitted), perf_takes_admin());
            let laid = SetAside::for_purpose(Purpose { attaching: true, budget: false }, || {
                assert!(set(CapSet::Effective).is_empty(), "tried with nothing");
                true
            });
            assert_eq!(set(CapSet::Permitted), aside);
            assert!(set(CapSet::Effective).is_empty());
            laid.unwrap().raise().unwrap();
            assert_eq!(set(CapSet::Effective), aside);
            assert!(set(CapSet::Inheritable).is_empty());
            assert!(set(CapSet::Ambient).is_empty());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_needed_all_the_time_stays_effective_when_the_rest_is_laid_aside_again() {
        for purpose in [
            Purpose { attaching: false, budget: true },
            Purpose { attaching: true, budget: false },
            Purpose { attaching: true, budget: true },
        ] {
            thread::spawn(move || {
                let kept = kept(&set(CapSet::Permitted));
                let laid = SetAside::for_purpose(purpose, || false).unwrap();
                let permitted = set(CapSet::Permitted);
                for _ in 0..2 {
                    assert_eq!(set(CapSet::Effective), kept, "{purpose:?}");
                    laid.raise().unwrap();
                    assert!(set(CapSet::Effective).is_superset(&kept), "{purpose:?}");
                    laid.lower().unwrap();
                    assert_eq!(set(CapSet::Permitted), permitted, "{purpose:?}");
                }
                assert_eq!(set(CapSet::Effective), kept, "{purpose:?}");
                // Attached to something else, which may need nothing.
                let laid = SetAside::for_purpose(purpose, || {
                    assert!(set(CapSet::Effective).is_empty(), "tried with nothing");
                    true
                });
                let laid = laid.unwrap();
                laid.raise().unwrap();
                laid.lower().unwrap();
                assert!(set(CapSet::Effective).is_empty(), "{purpose:?}");
            })
            .join()
            .unwrap();
        }
    }

    #[test]
    fn attaching_takes_three_at_most_and_one_more_for_some_kernels_perf() {
        let with_perf = |capabilities: &[Capability], perf_takes_admin| {
            to_attach(&capabilities.iter().copied().collect(), perf_takes_admin)
        };
        let of = |capabilities: &[Capability]| with_perf(capabilities, false);
        let three = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_PTRACE];
        let more = [&three[..], &[Capability::CAP_SYS_ADMIN, Capability::CAP_CHOWN]].concat();
        assert_eq!(of(&more), CapsHashSet::from_iter(three));
        let admin = CapsHashSet::from_iter([Capability::CAP_SYS_ADMIN]);
        assert_eq!(of(&[Capability::CAP_SYS_ADMIN]), admin);
        let four = [&three[..], &[Capability::CAP_SYS_ADMIN]].concat();
        assert_eq!(with_perf(&more, true), CapsHashSet::from_iter(four));
        assert_eq!(with_perf(&three, true), CapsHashSet::from_iter(three), "it is not there");
    }

    #[test]
    fn the_least_that_passes_is_kept() {
        let of = |capabilities: &[Capability]| kept(&capabilities.iter().copied().collect());
        let only = |capability| CapsHashSet::from_iter([capability]);
        assert_eq!(
            of(&[Capability::CAP_SYS_ADMIN, Capability::CAP_BPF]),
            only(Capability::CAP_BPF)
        );
        assert_eq!(of(&[Capability::CAP_SYS_ADMIN]), only(Capability::CAP_SYS_ADMIN));
        assert_eq!(of(&[Capability::CAP_CHOWN]), CapsHashSet::new());
    }
}
