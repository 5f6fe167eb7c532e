//! The time that a thread is off the CPU, added up at context switches and wake-ups.
//!
//! A call's latency is on-CPU + run queue + blocked. The last two are what these sums gain while the call is open; the first
//! is the rest.

/// Sums of time off the CPU, ns. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OffCpu {
    /// Able to run, and waiting for a CPU.
    pub runq_ns: u64,
    /// Waiting for something else.
    pub blocked_ns: u64,
}

impl OffCpu {
    /// No time at all.
    pub const NONE: Self = Self { runq_ns: 0, blocked_ns: 0 };

    /// What was added since `before`.
    #[inline(always)]
    pub const fn since(self, before: Self) -> Self {
        Self {
            runq_ns: self.runq_ns.wrapping_sub(before.runq_ns),
            blocked_ns: self.blocked_ns.wrapping_sub(before.blocked_ns),
        }
    }

    /// These times, cut to fit into a call of `latency_ns`: if a program is preempted and reads the clock too late, a part must
    /// not become longer than the whole. The rest is on-CPU, so that the three always add up to the latency.
    #[inline(always)]
    pub const fn within(self, latency_ns: u64) -> Self {
        let blocked_ns = if self.blocked_ns < latency_ns { self.blocked_ns } else { latency_ns };
        let rest = latency_ns - blocked_ns;
        Self { runq_ns: if self.runq_ns < rest { self.runq_ns } else { rest }, blocked_ns }
    }
}

/// A thread's time off the CPU. Changed at context switches and wake-ups only. All zero: never seen off the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OffCpuState {
    /// How long it was off the CPU during calls, over all of them.
    pub sums: OffCpu,
    /// Its present time off the CPU, while it is.
    pub away: Away,
}

const _: () = assert!(size_of::<OffCpuState>() == 56);

/// One period off the CPU, from the switch out to the switch in. Written by the programs at context switches and, in between,
/// the one at the wake-up; the scheduler orders them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Away {
    /// When the thread was switched out, ns of CLOCK_MONOTONIC; 0 while it is on a CPU, or in no call.
    pub since: u64,
    /// When the thread was woken up; 0 before that.
    pub woken_at: u64,
    /// 1: the thread could have gone on and was preempted.
    pub preempted: u32,
    /// The detail setting at that moment, see [`crate::settings`].
    pub detail: u32,
    /// How long the thread had waited for CPUs until then, by the scheduler's own account, ns.
    pub run_delay: u64,
    /// Once the thread goes on after a wait whose wake-up was not seen: how long that was, ns. How much of it was waiting for
    /// a CPU is in the scheduler's account as soon as the thread runs.
    pub unsettled_ns: u64,
}

impl Away {
    /// The times to add when the thread goes on at `now`, and whether its wake-up was missed. Without a wake-up, all of it
    /// counts as blocked.
    #[inline(always)]
    pub const fn ends(self, now: u64) -> (OffCpu, bool) {
        let all = now.saturating_sub(self.since);
        if self.preempted != 0 {
            return (OffCpu { runq_ns: all, blocked_ns: 0 }, false);
        }
        if self.woken_at == 0 {
            return (OffCpu { runq_ns: 0, blocked_ns: all }, true);
        }
        let blocked_ns = self.woken_at.saturating_sub(self.since);
        // Clocks of two CPUs may be apart by a little.
        let blocked_ns = if blocked_ns < all { blocked_ns } else { all };
        (OffCpu { runq_ns: all - blocked_ns, blocked_ns }, false)
    }
}

impl Away {
    /// How much of a wait whose wake-up was not seen was waiting for a CPU, ns: by the scheduler's account, which is at
    /// `run_delay` now.
    #[inline(always)]
    pub const fn settles(self, run_delay: u64) -> u64 {
        let waited = run_delay.saturating_sub(self.run_delay);
        if waited < self.unsettled_ns { waited } else { self.unsettled_ns }
    }

    /// The times to add for a thread that is found running at `now`, though it was not seen to go on. The scheduler's
    /// account, which is at `run_delay` now, says how long it waited for a CPU. If its wake-up was not seen either, the rest
    /// counts as blocked.
    #[inline(always)]
    pub const fn ended_unseen(self, now: u64, run_delay: u64) -> OffCpu {
        let all = now.saturating_sub(self.since);
        let waited = run_delay.saturating_sub(self.run_delay);
        let runq_ns = if waited < all { waited } else { all };
        if self.preempted != 0 {
            return OffCpu { runq_ns, blocked_ns: 0 };
        }
        let rest = all - runq_ns;
        if self.woken_at == 0 {
            return OffCpu { runq_ns, blocked_ns: rest };
        }
        let blocked_ns = self.woken_at.saturating_sub(self.since);
        OffCpu { runq_ns, blocked_ns: if blocked_ns < rest { blocked_ns } else { rest } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEPT: Away =
        Away { since: 100, woken_at: 0, preempted: 0, detail: 0, run_delay: 40, unsettled_ns: 0 };

    #[test]
    fn a_preempted_thread_waits_for_a_cpu() {
        let away = Away { preempted: 1, ..SLEPT };
        assert_eq!(away.ends(130), (OffCpu { runq_ns: 30, blocked_ns: 0 }, false));
        // A wake-up means nothing to a thread that could have run all the time.
        let away = Away { woken_at: 110, ..away };
        assert_eq!(away.ends(130), (OffCpu { runq_ns: 30, blocked_ns: 0 }, false));
    }

    #[test]
    fn a_sleeping_thread_is_blocked_until_woken_up() {
        let away = Away { woken_at: 120, ..SLEPT };
        assert_eq!(away.ends(130), (OffCpu { runq_ns: 10, blocked_ns: 20 }, false));
        assert_eq!(SLEPT.ends(130), (OffCpu { runq_ns: 0, blocked_ns: 30 }, true));
    }

    #[test]
    fn the_scheduler_knows_what_a_wake_up_that_was_not_seen_would_have_told() {
        let away = Away { unsettled_ns: 30, ..SLEPT };
        assert_eq!([35, 40, 48, 90].map(|now| away.settles(now)), [0, 0, 8, 30]);
    }

    #[test]
    fn a_thread_not_seen_to_go_on_waited_as_long_as_the_scheduler_says() {
        // On a CPU again since 125, which was not seen.
        let preempted = Away { preempted: 1, ..SLEPT };
        assert_eq!(preempted.ended_unseen(150, 65), OffCpu { runq_ns: 25, blocked_ns: 0 });
        let woken = Away { woken_at: 120, ..SLEPT };
        assert_eq!(woken.ended_unseen(150, 45), OffCpu { runq_ns: 5, blocked_ns: 20 });
        assert_eq!(SLEPT.ended_unseen(150, 45), OffCpu { runq_ns: 5, blocked_ns: 45 });
        assert_eq!(woken.ended_unseen(110, 45), OffCpu { runq_ns: 5, blocked_ns: 5 });
        assert_eq!(SLEPT.ended_unseen(150, 99), OffCpu { runq_ns: 50, blocked_ns: 0 });
    }

    #[test]
    fn clocks_that_disagree_make_no_time_negative_or_longer() {
        let late = Away { woken_at: 140, ..SLEPT };
        assert_eq!(late.ends(130), (OffCpu { runq_ns: 0, blocked_ns: 30 }, false));
        let early = Away { woken_at: 90, ..SLEPT };
        assert_eq!(early.ends(130), (OffCpu { runq_ns: 30, blocked_ns: 0 }, false));
        assert_eq!(SLEPT.ends(90), (OffCpu::default(), true));
    }

    #[test]
    fn parts_never_exceed_the_whole() {
        let off = OffCpu { runq_ns: 70, blocked_ns: 50 };
        assert_eq!(off.within(200), off);
        assert_eq!(off.within(60), OffCpu { runq_ns: 10, blocked_ns: 50 });
        assert_eq!(off.within(40), OffCpu { runq_ns: 0, blocked_ns: 40 });
    }
}
