//! The rows of the first screen: which, and in what order.
//!
//! Knows no columns' widths and draws nothing.

use std::borrow::Cow;

use super::{Live, UiState, columns::in_window};
use crate::{
    model::{Counted, Row, column},
    sample::KindKey,
};

/// A row of the first screen.
pub(super) struct Entry<'a> {
    pub(super) key: KindKey,
    pub(super) title: Cow<'a, str>,
    /// Its numbers; `None` when no call finished in the window.
    pub(super) row: Option<&'a Row>,
}

/// The rows to show: those with calls in the window, sorted; then the idle ones by name, so that
/// a syscall that pauses for a second does not come and go.
pub(super) fn entries<'a>(ui: &UiState, live: &'a Live) -> Vec<Entry<'a>> {
    let model = live.model(ui.window);
    let wanted = ui.filter.text().to_lowercase();
    let matches = |title: &str| title.to_lowercase().contains(&wanted);

    let mut active: Vec<Entry<'a>> = column::sorted(
        &model.rows,
        &model.basis(),
        in_window(ui.sort.key, ui.window),
        ui.sort.reversed,
    )
    .into_iter()
    .map(|row| Entry { key: row.key, title: row.title(), row: Some(row) })
    .collect();
    let mut idle: Vec<Entry<'a>> = live
        .since_attach
        .rows
        .iter()
        .filter(|row| model.row(row.key).is_none())
        .map(|row| Entry { key: row.key, title: row.title(), row: None })
        .collect();
    idle.sort_by(|a, b| a.title.cmp(&b.title));
    active.append(&mut idle);
    active.retain(|entry| matches(&entry.title));
    active
}

/// The index of the selected row; the first one when the selected syscall is not among them.
pub(super) fn selected(ui: &UiState, entries: &[Entry<'_>]) -> usize {
    entries.iter().position(|entry| Some(entry.key) == ui.selected).unwrap_or(0)
}
