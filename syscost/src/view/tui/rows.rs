//! The rows of the first screen and their order.
//!
//! Knows no columns' widths and draws nothing.

use std::{borrow::Cow, collections::HashSet};

use super::{
    Live, UiState,
    columns::{Table, sorted_by},
};
use crate::{
    model::{GroupRow, Model, Row, TableContext, TableRow, column},
    sample::{GroupKey, KindKey},
};

/// What a row stands for; outlives sorting and windows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum RowKey {
    /// A syscall.
    Syscall(KindKey),
    /// A process.
    Group(GroupKey),
}

/// A row of the first screen.
pub(super) struct Entry<'a> {
    pub(super) key: RowKey,
    pub(super) title: Cow<'a, str>,
    /// Its numbers; `None` when no call finished in the window.
    pub(super) row: Option<&'a dyn TableRow>,
}

/// A row that is one of many of its kind.
trait Keyed: TableRow {
    fn key(&self) -> RowKey;

    /// Whether to go on showing it while it makes no calls.
    fn stays(&self) -> bool;
}

impl Keyed for Row {
    fn key(&self) -> RowKey {
        RowKey::Syscall(self.key)
    }

    fn stays(&self) -> bool {
        true
    }
}

impl Keyed for GroupRow {
    fn key(&self) -> RowKey {
        RowKey::Group(self.key.clone())
    }

    /// Of the dead there are ever more.
    fn stays(&self) -> bool {
        self.alive
    }
}

/// The rows to show: those with calls in the window, sorted; then the idle ones by name, so that
/// a row that pauses for a second does not come and go.
pub(super) fn entries<'a>(ui: &UiState, live: &'a Live) -> Vec<Entry<'a>> {
    let (model, since_attach) = (live.model(ui.window), &live.since_attach);
    let mut entries = match Table::of(ui.screen) {
        Table::Syscalls => of_rows(ui, model, (&model.rows, &model.context()), &since_attach.rows),
        Table::Processes => {
            let busy = (groups(model), &model.group_context());
            of_rows(ui, model, busy, groups(since_attach))
        }
    };
    let wanted = ui.filter.text().to_lowercase();
    entries.retain(|entry| entry.title.to_lowercase().contains(&wanted));
    entries
}

fn groups(model: &Model) -> &[GroupRow] {
    model.groups.as_ref().map_or(&[], |groups| &groups.rows)
}

fn of_rows<'a, R: Keyed>(
    ui: &UiState,
    model: &Model,
    (busy, context): (&'a [R], &TableContext),
    ever: &'a [R],
) -> Vec<Entry<'a>> {
    let key = sorted_by(ui, model);
    let mut entries: Vec<Entry<'a>> = column::sorted(busy, context, key, ui.sort.reversed)
        .into_iter()
        .map(|row| Entry { key: row.key(), title: row.title(), row: Some(row) })
        .collect();
    let shown: HashSet<RowKey> = entries.iter().map(|entry| entry.key.clone()).collect();
    let mut idle: Vec<Entry<'a>> = ever
        .iter()
        .filter(|row| row.stays() && !shown.contains(&row.key()))
        .map(|row| Entry { key: row.key(), title: row.title(), row: None })
        .collect();
    idle.sort_by(|a, b| a.title.cmp(&b.title));
    entries.append(&mut idle);
    entries
}

/// The index of the selected row; the first one when the selected one is not among them.
pub(super) fn selected(ui: &UiState, entries: &[Entry<'_>]) -> usize {
    entries.iter().position(|entry| Some(&entry.key) == ui.selected.as_ref()).unwrap_or(0)
}
