//! Which columns fit a width, and how wide each is.
//!
//! Knows no values but their formats' longest; the columns themselves are the model's.

use super::Screen;
use crate::model::{
    Window,
    column::{COLUMNS, Key},
};

/// Which table: what its rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// A row for each syscall, with a histogram.
    Syscalls,
    /// A row for each process, without.
    Processes,
}

impl Table {
    /// The table of a screen, or the one below it.
    pub(super) fn of(screen: Screen) -> Self {
        match screen {
            Screen::Processes => Self::Processes,
            _ => Self::Syscalls,
        }
    }

    /// What is shown at 80 columns.
    fn essential(self) -> &'static [Key] {
        match self {
            Self::Syscalls => {
                &[Key::CallsPerSec, Key::ErrorPct, Key::TimePerSec, Key::P50, Key::P99, Key::Max]
            }
            Self::Processes => {
                &[Key::CallsPerSec, Key::Errors, Key::TimePerSec, Key::TimePct, Key::Mean]
            }
        }
    }

    /// What is given up first where there is less room, and next.
    fn dropped(self) -> &'static [Key] {
        match self {
            Self::Syscalls => &[Key::Max, Key::ErrorPct, Key::P50, Key::P99, Key::CallsPerSec],
            Self::Processes => &[Key::Mean, Key::TimePct, Key::Errors, Key::CallsPerSec],
        }
    }

    /// What is added first where there is more room than a good histogram needs, and next.
    fn added(self) -> &'static [Key] {
        match self {
            Self::Syscalls => {
                &[Key::P90, Key::Mean, Key::P999, Key::TimePct, Key::Min, Key::Errors]
            }
            Self::Processes => &[],
        }
    }

    fn name_width(self, width: u16) -> u16 {
        match self {
            Self::Syscalls if width < 110 => 16,
            Self::Syscalls => 20,
            // A PID and a name are as long as that, and never longer.
            Self::Processes => 23,
        }
    }
}

/// The columns of the table, from left to right: a mark, the name, numbers, the histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Width of the name.
    pub(super) name: u16,
    /// The columns of numbers, with their widths; each begins with a gap.
    pub(super) numbers: Vec<(Key, u16)>,
    /// Width of the histogram, without the gap before it; 0 where there is no room for one.
    pub(super) histogram: u16,
}

/// The column of the selection mark.
const MARK: u16 = 1;
/// Between the numbers and the histogram.
pub(super) const GAP: u16 = 2;
/// A histogram narrower than this has no shape.
const MIN_HISTOGRAM: u16 = 14;
/// A histogram of this width is worth more than another column.
const GOOD_HISTOGRAM: u16 = 36;
/// A histogram wider than this shows its buckets rather than its shape.
const MAX_HISTOGRAM: u16 = 120;

/// The column that says in `window` what `key` says: rates in an interval, sums since attach.
pub(super) fn in_window(key: Key, window: Window) -> Key {
    match (key, window) {
        (Key::CallsPerSec, Window::SinceAttach) => Key::Calls,
        (Key::Calls, Window::Interval) => Key::CallsPerSec,
        (Key::TimePerSec, Window::SinceAttach) => Key::Time,
        (Key::Time, Window::Interval) => Key::TimePerSec,
        _ => key,
    }
}

impl Layout {
    /// The columns of `table` in `width`. The column that is sorted by is always among them;
    /// numbers that are not `exact` need room for `>=`.
    pub(super) fn fit(table: Table, width: u16, window: Window, exact: bool, sort: Key) -> Self {
        let sort = in_window(sort, window);
        let name = table.name_width(width);
        let spent = |keys: &[Key]| -> u16 {
            MARK + name + keys.iter().map(|key| number_width(*key, exact)).sum::<u16>()
        };
        let here = |keys: &[Key]| keys.iter().map(|key| in_window(*key, window)).collect();
        let shown: Vec<Key> = here(table.essential());
        let mut dropped: Vec<Key> = here(table.dropped());
        dropped.retain(|key| *key != sort);
        let shrunk_to = |room: u16| {
            let mut keys = shown.clone();
            if sort != Key::Name && !keys.contains(&sort) {
                keys.push(sort);
            }
            for key in &dropped {
                if spent(&keys) > room {
                    keys.retain(|other| other != key);
                }
            }
            keys
        };

        let room = width.saturating_sub(GAP + MIN_HISTOGRAM);
        let mut keys = shrunk_to(room);
        let mut histogram = width.saturating_sub(spent(&keys) + GAP);
        // Without at least a rate and a time, a shape says little.
        if histogram < MIN_HISTOGRAM || keys.len() < 3 || table == Table::Processes {
            keys = shrunk_to(width);
            histogram = 0;
        }
        for key in table.added() {
            let wide = number_width(*key, exact);
            if histogram >= GOOD_HISTOGRAM + wide && !keys.contains(key) {
                keys.push(*key);
                histogram -= wide;
            }
        }
        let numbers = COLUMNS
            .iter()
            .filter(|column| keys.contains(&column.key))
            .map(|column| (column.key, number_width(column.key, exact)))
            .collect();
        Self { name, numbers, histogram: histogram.min(MAX_HISTOGRAM) }
    }

    /// The columns one can sort by, from left to right.
    pub(super) fn sortable(&self) -> Vec<Key> {
        let numbers = self.numbers.iter().map(|(key, _)| *key);
        [Key::Name].into_iter().chain(numbers).collect()
    }
}

/// The width of the longest number and of the title, and of a gap before them that has room for
/// the arrow of the sorted column.
fn number_width(key: Key, exact: bool) -> u16 {
    match key {
        Key::Calls | Key::CallsPerSec | Key::Errors | Key::Time | Key::TimePerSec => 8,
        // The longest latency is a lower bound where something was lost.
        Key::Max if !exact => 8,
        Key::P999 => 7,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(width: u16) -> Layout {
        Layout::fit(Table::Syscalls, width, Window::Interval, false, Key::TimePerSec)
    }

    #[test]
    fn eighty_columns_hold_all_that_is_essential() {
        let layout = fit(80);
        let keys: Vec<_> = layout.numbers.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, Table::Syscalls.essential());
        assert!(layout.histogram >= 18, "{layout:?}");
    }

    #[test]
    fn nothing_is_wider_than_the_screen() {
        let both = |width| [Table::Syscalls, Table::Processes].map(|table| (table, width));
        for (table, width) in (40..300).flat_map(both) {
            let layout = Layout::fit(table, width, Window::Interval, false, Key::TimePerSec);
            let numbers: u16 = layout.numbers.iter().map(|(_, width)| width).sum();
            let histogram = if layout.histogram > 0 { GAP + layout.histogram } else { 0 };
            assert!(MARK + layout.name + numbers + histogram <= width, "{width}: {layout:?}");
        }
    }

    #[test]
    fn the_sorted_column_stays_when_the_screen_shrinks() {
        for width in [40, 60, 80] {
            let layout = Layout::fit(Table::Syscalls, width, Window::SinceAttach, true, Key::P999);
            assert!(layout.sortable().contains(&Key::P999), "{width}");
        }
    }
}
