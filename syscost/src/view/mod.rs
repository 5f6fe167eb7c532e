//! Views: the forms in which a [`Model`](crate::model::Model) is shown. Each reads a model and writes bytes. None
//! reads the kernel, the clock or `/proc`.

pub mod ascii;
pub mod blind;
pub mod calibration;
pub mod cost;
pub mod csv;
pub mod format;
pub mod json;
mod json_line;
pub mod missing;
pub mod report;
pub mod share;
pub mod table;
pub mod tui;
mod width;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
pub(crate) mod hostile;

use crate::model::{
    TableContext, TableRow,
    column::{self, Key},
};

/// Which rows of a model to print, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The column to sort by.
    pub sort: Key,
    /// Whether rows are in the opposite of the column's own order.
    pub reversed: bool,
    /// How many rows at most; `None` for all.
    pub top: Option<usize>,
}

impl Default for Order {
    /// All rows, the most time on a CPU first.
    fn default() -> Self {
        Self { sort: Key::OnCpu, reversed: false, top: None }
    }
}

impl Order {
    /// The rows to print and the rows that are left out, both in order.
    fn split<'a, R: TableRow>(
        &self,
        rows: &'a [R],
        context: &TableContext,
    ) -> (Vec<&'a R>, Vec<&'a R>) {
        let mut shown = column::sorted(rows, context, self.sort, self.reversed);
        let rest = shown.split_off(self.top.map_or(shown.len(), |top| top.min(shown.len())));
        (shown, rest)
    }
}
