//! Bars made of characters: how tall, and which part of a latency each character of a bar shows.
//!
//! Knows no colours and no screen.

use syscost_common::cell::{PARTS, PartOf};

/// The calls of one character column, indexed by [`PartOf`].
pub(super) type Stack = [u64; PARTS];

/// The parts from the foot of a stack to its top.
pub(super) const UPWARDS: [PartOf; PARTS] = [PartOf::OnCpu, PartOf::Runq, PartOf::Blocked];

/// The calls of a whole stack.
pub(super) fn total(stack: &Stack) -> u64 {
    stack.iter().sum()
}

/// The highest of `stacks`.
pub(super) fn peak(stacks: &[Stack]) -> u64 {
    stacks.iter().map(total).max().unwrap_or(0)
}

/// Whether most of a stack's calls were off the CPU for that long, rather than on it.
pub(super) fn off_cpu(stack: &Stack) -> bool {
    stack[PartOf::Runq as usize] + stack[PartOf::Blocked as usize] > stack[PartOf::OnCpu as usize]
}

/// A bar of one character's height for each column, against the highest one. A column too low for
/// a bar is a dot: a single call among millions stays visible.
pub(super) fn sparkline(columns: &[u64]) -> String {
    let peak = columns.iter().copied().max().unwrap_or(0);
    columns.iter().map(|count| cell(*count, peak, 1, 0)).collect()
}

/// The character at `row`, counted from below, of a bar of at most `height` rows.
pub(super) fn cell(count: u64, peak: u64, height: u16, row: u16) -> char {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let eighths = eighths(count, peak, height);
    if eighths == 0 && row == 0 && count > 0 {
        return '·';
    }
    EIGHTHS[eighths.saturating_sub(u64::from(row) * 8).min(8) as usize]
}

fn eighths(count: u64, peak: u64, height: u16) -> u64 {
    if peak == 0 {
        return 0;
    }
    (count as f64 / peak as f64 * f64::from(height) * 8.0).round() as u64
}

/// The part that has most of the character at `row` of a stack drawn as a bar of at most `height`
/// rows: a character has one colour.
pub(super) fn part_at(stack: &Stack, peak: u64, height: u16, row: u16) -> PartOf {
    let (foot, top) = (u64::from(row) * 8, u64::from(row) * 8 + 8);
    let mut below = 0;
    let covered = UPWARDS.map(|of| {
        let from = eighths(below, peak, height).clamp(foot, top);
        below += stack[of as usize];
        (eighths(below, peak, height).clamp(foot, top) - from, stack[of as usize], of)
    });
    // Where none has even an eighth, the one with the most calls.
    covered
        .into_iter()
        .max_by_key(|(eighths, calls, _)| (*eighths, *calls))
        .map_or(PartOf::OnCpu, |most| most.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_call_beside_millions_is_a_dot() {
        assert_eq!(sparkline(&[0, 1, 1_000_000, 500_000]), " ·█▄");
        assert_eq!(sparkline(&[0, 0]), "  ");
    }

    #[test]
    fn a_stack_shows_each_part_where_it_is() {
        let stack = [50, 25, 25];
        let parts: Vec<PartOf> = (0..4).map(|row| part_at(&stack, 100, 4, row)).collect();
        assert_eq!(parts, [PartOf::OnCpu, PartOf::OnCpu, PartOf::Runq, PartOf::Blocked]);
        // As tall as all of it together.
        assert_eq!((0..5).map(|row| cell(total(&stack), 100, 4, row)).collect::<String>(), "████ ");
    }

    #[test]
    fn a_character_belongs_to_what_has_most_of_it() {
        assert_eq!(part_at(&[60, 0, 40], 100, 1, 0), PartOf::OnCpu);
        assert_eq!(part_at(&[10, 0, 90], 100, 1, 0), PartOf::Blocked);
        assert_eq!(part_at(&[0, 1, 0], 1_000_000, 1, 0), PartOf::Runq);
        assert!(off_cpu(&[4, 3, 2]) && !off_cpu(&[4, 2, 2]));
    }
}
