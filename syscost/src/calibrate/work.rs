//! Fixed user work, and how long it takes right after something else.

use std::hint::black_box;

use super::{clock::ticks, crossing::Call};

/// Bytes of a cache line. On a processor with longer lines, the walk meets each line more than once.
const LINE: usize = 64;

/// How long a figure is measured, in lines: a small working set is walked more often.
const LINES_PER_FIGURE: usize = 128 << 10;
/// Readings of the counter before the work: some hundred nanoseconds without memory accesses.
const SETTLING: usize = 32;
const MIN_TIMES: usize = 8;
const MAX_TIMES: usize = 250;

/// A walk through a working set, one step for each cache line of it.
pub(super) struct Work {
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line {
    next: u32,
    /// Which way the branch goes here: at random, one in two.
    turn: bool,
}

impl Work {
    /// Work on `bytes` of data.
    pub(super) fn new(bytes: usize) -> Self {
        let count = bytes / LINE;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        // Sattolo's shuffle: one cycle through all lines.
        let mut order: Vec<u32> = (0..count as u32).collect();
        for index in (1..count).rev() {
            order.swap(index, random.below(index));
        }
        let lines = order.iter().map(|next| Line { next: *next, turn: random.below(2) == 1 });
        Self { lines: lines.collect() }
    }

    /// Does it once.
    #[inline(never)]
    pub(super) fn run(&self) {
        let (mut at, mut sum) = (0usize, 0u64);
        for _ in 0..self.lines.len() {
            let line = &self.lines[at];
            // Opaque to the compiler, so that it stays a branch.
            if line.turn {
                sum = black_box(sum.wrapping_add(3));
            } else {
                sum = black_box(sum.wrapping_mul(5));
            }
            at = line.next as usize;
        }
        black_box(sum);
    }

    /// How long it takes alone, and how much longer right after `call`, in ticks.
    ///
    /// Both are measured in turns: alone, after the call, after the call, alone, and the next time in the other order.
    /// So a drift of the machine's speed adds the same to both. Before each, the work is done once, so that both find
    /// the caches as the work leaves them.
    pub(super) fn measure(&self, call: &mut Call) -> Measured {
        const TURNS: [bool; 4] = [false, true, true, false];
        let times = (LINES_PER_FIGURE / self.lines.len()).clamp(MIN_TIMES, MAX_TIMES);
        let (mut alone, mut added) = (Vec::new(), Vec::new());
        for time in 0..times {
            let mut taken = [0, 0];
            for turn in TURNS {
                let after_call = turn ^ (time % 2 == 1);
                taken[usize::from(after_call)] += self.ticks(after_call.then_some(&mut *call));
            }
            let [without, with] = taken.map(|ticks| ticks as f64 / 2.0);
            alone.push(without);
            added.push(with - without);
        }
        Measured { alone: mean_of_middle(&mut alone), added: mean_of_middle(&mut added) }
    }

    /// The ticks that the work takes, right after a call or not. The instructions are the same in both cases.
    #[inline(never)]
    fn ticks(&self, call: Option<&mut Call>) -> u64 {
        self.run();
        if let Some(call) = call {
            call.make();
        }
        // Pending memory accesses end, with or without a call in between.
        for _ in 0..SETTLING {
            ticks();
        }
        let begin = ticks();
        self.run();
        ticks() - begin
    }
}

/// The mean without the fastest and the slowest quarter, which have interrupts and the turns of other guests.
fn mean_of_middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = &values[values.len() / 4..values.len() - values.len() / 4];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// The result of one round, in ticks.
pub(super) struct Measured {
    /// How long the work takes when nothing else is done.
    pub(super) alone: f64,
    /// How much longer right after a call.
    pub(super) added: f64,
}

/// Marsaglia's xorshift: the same numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_comes_by_every_line_once() {
        for bytes in [1 << 10, 8 << 10, 512 << 10] {
            let work = Work::new(bytes);
            assert_eq!(work.lines.len() * LINE, bytes);
            let mut met = vec![false; work.lines.len()];
            let mut at = 0;
            for _ in 0..work.lines.len() {
                assert!(!std::mem::replace(&mut met[at], true), "twice by {at}");
                at = work.lines[at].next as usize;
            }
            assert_eq!(at, 0, "and back");
        }
    }

    #[test]
    fn its_branches_go_either_way() {
        let work = Work::new(64 << 10);
        let turns = work.lines.iter().filter(|line| line.turn).count();
        assert!((400..=624).contains(&turns), "{turns} of 1024");
    }
}
