//! Which columns fit a width, and how wide each is.
//!
//! The columns and their priorities are declared in the model.

use super::{Live, Screen, UiState};
use crate::model::{
    Availability, Model, TableRow, Window,
    column::{COLUMNS, Column, Key, Measure, Needs, Priority},
};
use crate::view::width::Columns;

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

    /// When it shows a column, as declared.
    fn priority(self, column: &Column) -> Priority {
        match self {
            Self::Syscalls => column.syscalls,
            Self::Processes => column.processes,
        }
    }

    /// The columns for which `rank` has a number, in order of these numbers; of a pair, the one for
    /// `window`.
    fn ranked(self, window: Window, rank: fn(Priority) -> Option<u8>) -> Vec<Key> {
        let mut ranked: Vec<(u8, Key)> = COLUMNS
            .iter()
            .filter_map(|column| Some((rank(self.priority(column))?, column.key.in_window(window))))
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, key)| key).collect()
    }

    /// The columns that it shows at 80 characters, in the order in which a narrower one leaves them out.
    fn droppable(self, window: Window) -> Vec<Key> {
        self.ranked(window, |priority| match priority {
            Priority::Droppable(rank) => Some(rank),
            _ => None,
        })
    }

    /// The columns that it adds where it is wide, in this order.
    fn extra(self, window: Window) -> Vec<Key> {
        self.ranked(window, |priority| match priority {
            Priority::Extra(rank) => Some(rank),
            _ => None,
        })
    }

    /// The width of the names, of which the longest is `longest`.
    fn name_width(self, width: u16, longest: u16) -> u16 {
        match self {
            Self::Syscalls if width < 110 => longest.clamp(SHORTEST_NAME, 15),
            Self::Syscalls => longest.clamp(SHORTEST_NAME, 20),
            // A PID and a name are as long as that, and never longer.
            Self::Processes => 23,
        }
    }
}

/// What decides about the columns, besides the width of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) window: Window,
    /// Whether no number has a mark (`>=`, `≈`), which needs room.
    pub(super) exact: bool,
    /// Whether the parts of any latency are known.
    pub(super) parts: bool,
    /// Whether the boundary cost is known, and more than its spread.
    pub(super) calibrated: bool,
    /// The column that is sorted by; it is always among them.
    pub(super) sort: Key,
    /// The length of the longest name.
    pub(super) name: u16,
}

impl Contents {
    /// What the first screen has to show.
    pub(super) fn of(ui: &UiState, live: &Live) -> Self {
        let model = live.model(ui.window);
        let longest = |rows: &[crate::model::Row]| {
            rows.iter().map(|row| row.title().columns()).max().unwrap_or(0)
        };
        Self {
            window: ui.window,
            exact: model.trust.exact && !model.trust.sampled,
            parts: model.trust.parts != Availability::None,
            calibrated: model.context().telling_crossing_ns().is_some(),
            sort: sorted_by(ui, model),
            // From everything since attach, so that columns do not move from tick to tick.
            name: longest(&live.since_attach.rows) as u16,
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
/// The heading of a shorter name would not fit, with its arrow.
const SHORTEST_NAME: u16 = 8;
/// A histogram narrower than this has no shape.
const MIN_HISTOGRAM: u16 = 12;
/// A histogram of this width is worth more than another column.
const GOOD_HISTOGRAM: u16 = 36;
/// A histogram wider than this shows its buckets rather than its shape.
const MAX_HISTOGRAM: u16 = 120;

/// The column that rows are sorted by: the one asked for, or what shows the same in this window, or
/// another one where its values are not known.
pub(super) fn sorted_by(ui: &UiState, model: &Model) -> Key {
    ui.sort.key.in_window(ui.window).or_next_best(model.trust)
}

impl Layout {
    /// The columns of `table` in `width`.
    pub(super) fn fit(table: Table, width: u16, contents: Contents) -> Self {
        let Contents { window, exact, sort, .. } = contents;
        let least = MARK + number_width(sort, exact) * u16::from(sort != Key::Name);
        // A name gives way to the number that rows are sorted by.
        let name = table.name_width(width, contents.name).min(width.saturating_sub(least));
        let spent = |keys: &[Key]| -> u16 {
            MARK + name + keys.iter().map(|key| number_width(*key, exact)).sum::<u16>()
        };
        let shown = table.droppable(window);
        let mut dropped = shown.clone();
        if !contents.parts {
            // One column is enough to show that no part is known: the most important one.
            let is_part = |key: &Key| matches!(key.column().needs, Needs::Part(_));
            let last = dropped.iter().rposition(is_part);
            let (mut parts, others): (Vec<_>, Vec<_>) = dropped
                .into_iter()
                .enumerate()
                .partition(|(at, key)| is_part(key) && Some(*at) != last);
            parts.extend(others);
            dropped = parts.into_iter().map(|(_, key)| key).collect();
        }
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
        let mut spare = match table {
            Table::Syscalls => histogram.saturating_sub(GOOD_HISTOGRAM),
            Table::Processes => width.saturating_sub(spent(&keys)),
        };
        for key in table.extra(window) {
            let wide = number_width(key, exact);
            let known = match key.column().needs {
                Needs::Part(_) => contents.parts,
                Needs::Calibration => contents.calibrated,
                Needs::Nothing | Needs::Histogram => true,
            };
            if known && spare >= wide && !keys.contains(&key) {
                keys.push(key);
                spare -= wide;
                histogram = histogram.saturating_sub(wide);
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

/// The width of a column: of its longest number or its title, and one more for a gap, which has room for
/// the arrow of the sorted column.
fn number_width(key: Key, exact: bool) -> u16 {
    /// The longest number that there is: `12.4k`, `1m05s`, `>99.9`.
    const NUMBER: u16 = 5;
    /// `>=`.
    const BOUND: u16 = 2;
    /// `≈`.
    const ESTIMATE: u16 = 1;
    let column = key.column();
    let mark = match column.measure {
        // As wide with and without a mark, so that histograms stay in place after a loss.
        Measure::Sum => BOUND,
        Measure::Maximum if !exact => BOUND,
        Measure::Figure if !exact => ESTIMATE,
        Measure::Name | Measure::Figure | Measure::Maximum => 0,
    };
    let title = |key: Key| key.column().title.columns() as u16;
    // As wide in either window.
    let title = title(key).max(column.pair.map_or(0, |pair| title(pair.other)));
    title.max(NUMBER + mark) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENTS: Contents = Contents {
        window: Window::Interval,
        exact: true,
        parts: true,
        calibrated: true,
        sort: Key::OnCpuPerSec,
        name: 11,
    };

    /// What the table of syscalls shows at 80 characters.
    const ESSENTIAL: [Key; 7] = [
        Key::CallsPerSec,
        Key::ErrorPct,
        Key::OnCpuPerSec,
        Key::BlockedPct,
        Key::P50,
        Key::P99,
        Key::Max,
    ];

    fn keys(layout: &Layout) -> Vec<Key> {
        layout.numbers.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn eighty_columns_hold_all_that_is_essential_and_a_shape() {
        let layout = Layout::fit(Table::Syscalls, 80, CONTENTS);
        assert_eq!(keys(&layout), ESSENTIAL);
        assert!(layout.histogram >= 16, "{layout:?}");
        // The longest name that is usual: clock_nanosleep.
        let layout = Layout::fit(Table::Syscalls, 80, Contents { name: 15, ..CONTENTS });
        assert_eq!(keys(&layout), ESSENTIAL);
        assert!(layout.histogram >= MIN_HISTOGRAM, "{layout:?}");
    }

    #[test]
    fn where_parts_are_not_known_the_time_is_there() {
        let contents = Contents { parts: false, sort: Key::TimePerSec, ..CONTENTS };
        let keys = keys(&Layout::fit(Table::Syscalls, 80, contents));
        assert!(keys.contains(&Key::TimePerSec) && keys.contains(&Key::OnCpuPerSec), "{keys:?}");
    }

    #[test]
    fn wider_screens_show_the_time_and_what_waits_for_a_cpu_and_the_boundary() {
        let wide = keys(&Layout::fit(Table::Syscalls, 160, CONTENTS));
        for key in [Key::TimePerSec, Key::RunqPct, Key::BoundaryPerSec] {
            assert!(wide.contains(&key), "{wide:?}");
        }
        let contents = Contents { calibrated: false, ..CONTENTS };
        assert!(!keys(&Layout::fit(Table::Syscalls, 300, contents)).contains(&Key::BoundaryPerSec));
    }

    #[test]
    fn nothing_is_wider_than_the_screen() {
        let both = |width| [Table::Syscalls, Table::Processes].map(|table| (table, width));
        for (table, width) in (20..300).flat_map(both) {
            for (exact, name) in [(false, 3), (true, 15), (false, 40)] {
                let layout = Layout::fit(table, width, Contents { exact, name, ..CONTENTS });
                let numbers: u16 = layout.numbers.iter().map(|(_, width)| width).sum();
                let histogram = if layout.histogram > 0 { GAP + layout.histogram } else { 0 };
                assert!(MARK + layout.name + numbers + histogram <= width, "{width}: {layout:?}");
            }
        }
    }

    #[test]
    fn the_sorted_column_stays_when_the_screen_shrinks() {
        for width in [20, 40, 60, 80] {
            let contents = Contents { window: Window::SinceAttach, sort: Key::P999, ..CONTENTS };
            let layout = Layout::fit(Table::Syscalls, width, contents);
            assert!(layout.sortable().contains(&Key::P999), "{width}");
        }
    }
}
