//! Fixed user work, and how long it takes right after something else.

use std::hint::black_box;

use super::clock::ticks;

/// Bytes of a cache line, on every processor that is supported; a longer one only makes the walk
/// meet each of them more than once.
const LINE: usize = 64;

/// How long a figure is measured, in lines: a small working set is gone over more often.
const LINES_PER_FIGURE: usize = 512 << 10;

/// A walk through a working set, one step for each cache line of it.
pub(super) struct Work {
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line {
    next: u32,
    /// Which way the branch goes here: one in two, at random.
    turn: bool,
}

impl Work {
    /// On `bytes` of data.
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

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * LINE
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

    /// The ticks that it takes right after `before`, which is not counted: the mean of the middle
    /// half, so that an interrupt or another guest's turn does not show, and ticks may be coarse.
    pub(super) fn ticks(&self, mut before: impl FnMut()) -> f64 {
        // Once to warm up.
        self.run();
        let times = (LINES_PER_FIGURE / self.lines.len()).clamp(4, 1_000);
        let mut taken: Vec<u64> = (0..times)
            .map(|_| {
                before();
                let begin = ticks();
                self.run();
                ticks() - begin
            })
            .collect();
        taken.sort_unstable();
        let middle = &taken[times / 4..times - times / 4];
        middle.iter().sum::<u64>() as f64 / middle.len() as f64
    }
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
            assert_eq!(work.bytes(), bytes);
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
