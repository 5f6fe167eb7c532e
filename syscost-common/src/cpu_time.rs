//! The CPU time of tasks in scope, kept for each CPU at context switches.

/// A sum of slices of time, of which the last one may still be running. One word, so that a reader on
/// another CPU never sees half of an update. All-zero bits are no time at all.
// The lowest bit says whether a slice is running; the others are the sum of the finished slices, less
// the time when the running one began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Slices(pub u64);

impl Slices {
    /// With a slice that begins at `now` (ns). None may be running.
    #[inline(always)]
    pub const fn begin(self, now: u64) -> Self {
        Self(self.0.wrapping_sub(now << 1) | 1)
    }

    /// With the running slice ended at `now` (ns).
    #[inline(always)]
    pub const fn end(self, now: u64) -> Self {
        Self((self.0 & !1).wrapping_add(now << 1))
    }

    /// With a slice of `ns` that is over. None may be running.
    #[inline(always)]
    pub const fn plus(self, ns: u64) -> Self {
        Self(self.0.wrapping_add(ns << 1))
    }

    /// Whether a slice is running.
    pub const fn is_running(self) -> bool {
        self.0 & 1 != 0
    }

    /// The sum at `now`, ns. A slice that began a moment later, by the clock of another CPU, counts
    /// as 0.
    pub const fn total_ns(self, now: u64) -> u64 {
        let total = if self.is_running() { self.end(now) } else { self };
        let ns = total.0 as i64 >> 1;
        if ns < 0 { 0 } else { ns as u64 }
    }
}

/// CPU time of threads: the index of a sum in [`CpuTime::sums`].
pub const THREADS: u32 = 0;
/// CPU time of kernel threads that io_uring runs in processes in scope.
pub const IO_WORKERS: u32 = 1;
/// The number of sums.
pub const SUMS: usize = 2;
/// CPU time of a task that is not in scope: no sum.
pub const NO_SUM: u32 = u32::MAX;

/// The account of one CPU. Written by the program at context switches on that CPU; `seed_*` by an iterator. All zero: no
/// context switch was seen yet.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct CpuTime {
    /// The address of the task that got the CPU at the last context switch; 0 before the first one.
    pub task: u64,
    /// When a task in scope got this CPU, ns of CLOCK_MONOTONIC; 0 while none has it.
    pub since: u64,
    /// When the last one lost it, or the programs were loaded, ns of CLOCK_MONOTONIC.
    pub ended_at: u64,
    /// The sum of the running slice, while `since` is not 0: [`THREADS`] or [`IO_WORKERS`].
    pub of: u32,
    /// Odd while `task`, `seed_task` and the sums do not belong together.
    pub sequence: u32,
    /// The CPU time: of threads, and of io_uring's workers.
    pub sums: [Slices; SUMS],
    /// The task in scope that was running here when the iterator looked; 0 for none. It counts only
    /// until the first context switch.
    pub seed_task: u64,
    /// When the iterator looked, ns of CLOCK_MONOTONIC.
    pub seed_since: u64,
    /// The sum for that time.
    pub seed_of: u32,
    /// 1 once the iterator has looked at all tasks.
    pub seeded: u32,
}

impl CpuTime {
    /// Before anything is known, at `now` (ns of CLOCK_MONOTONIC).
    pub const fn fresh(now: u64) -> Self {
        Self {
            task: 0,
            since: 0,
            ended_at: now,
            of: 0,
            sequence: 0,
            sums: [Slices(0); SUMS],
            seed_task: 0,
            seed_since: 0,
            seed_of: 0,
            seeded: 0,
        }
    }

    /// The sums at `now`, ns, and whether it is known which task runs there.
    pub fn totals_ns(&self, now: u64) -> ([u64; SUMS], bool) {
        let mut totals = self.sums.map(|sum| sum.total_ns(now));
        if self.task == 0 && self.seed_task != 0 {
            totals[self.seed_of as usize % SUMS] += now.saturating_sub(self.seed_since);
        }
        (totals, self.task != 0 || self.seeded != 0)
    }
}

const _: () = assert!(size_of::<CpuTime>() == 72);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_add_up_and_the_running_one_counts_until_now() {
        let sum = Slices::default().begin(100);
        assert!(sum.is_running());
        assert_eq!((sum.total_ns(100), sum.total_ns(130)), (0, 30));
        let sum = sum.end(150);
        assert!(!sum.is_running());
        assert_eq!(sum.total_ns(1_000), 50);
        let sum = sum.begin(u64::MAX >> 2);
        assert_eq!(sum.total_ns((u64::MAX >> 2) + 7), 57);
        assert_eq!(sum.end((u64::MAX >> 2) + 9), Slices(59 << 1));
        assert_eq!(Slices(59 << 1).plus(41).total_ns(0), 100);
    }

    #[test]
    fn a_slice_that_began_a_moment_later_counts_as_nothing() {
        assert_eq!(Slices::default().begin(100).total_ns(90), 0);
        assert_eq!(Slices::default().begin(0).end(40).begin(100).total_ns(95), 35);
    }

    #[test]
    fn a_seed_counts_until_the_first_switch() {
        let seeded = CpuTime { seed_task: 9, seed_since: 100, seeded: 1, ..CpuTime::fresh(0) };
        assert_eq!(seeded.totals_ns(160), ([60, 0], true));
        let switched = CpuTime { task: 8, sums: [Slices(70 << 1), Slices(0)], ..seeded };
        assert_eq!(switched.totals_ns(500), ([70, 0], true));
        let of_io = CpuTime { seed_of: IO_WORKERS, ..seeded };
        assert_eq!(of_io.totals_ns(160), ([0, 60], true));
        assert_eq!(CpuTime::fresh(0).totals_ns(160), ([0, 0], false));
    }
}
