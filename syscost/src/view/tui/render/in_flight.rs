//! The screen of the calls that are open now: what each thread is in, and for how long.

use crate::view::width::Columns;
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{left, right, wrap};
use crate::{
    decode::printable::printable,
    model::InFlight,
    view::{
        format,
        tui::{Live, Theme},
    },
};

/// What the columns are called, in their order.
const TITLES: [&str; COLUMNS] = ["AGE", "TID", "SYSCALL", "STATE", "PROCESS"];
const COLUMNS: usize = 5;
/// The columns that are aligned to the right.
const NUMBERS: [usize; 2] = [AGE, TID];
const AGE: usize = 0;
const TID: usize = 1;
const SYSCALL: usize = 2;
const STATE: usize = 3;
const PROCESS: usize = 4;
/// What a narrow screen goes without, the first of them first; it begins with the arguments.
const DISPENSABLE: [usize; 3] = [STATE, TID, PROCESS];
/// Between two columns.
const GAP: usize = 2;
/// From this room on, arguments are worth a column.
const ARGUMENTS: usize = 12;

/// The whole text in lines of `width`.
pub(super) fn text(theme: &Theme, live: &Live, width: u16) -> Vec<Line<'static>> {
    let say = |text: &str| {
        wrap(text, usize::from(width).saturating_sub(2).max(10))
            .into_iter()
            .map(|line| Line::from(format!(" {line}")))
            .collect()
    };
    let Some(calls) = &live.since_attach.in_flight else {
        return say(if live.since_attach.subject.exited {
            "The process has exited: no call is open."
        } else {
            "The open calls cannot be listed here: that takes kernel BTF and Linux 5.15. The \
             ledger has their number."
        });
    };
    if calls.is_empty() {
        return say("No call is open.");
    }
    let cells: Vec<_> = calls.iter().map(|call| cells(live, call)).collect();
    let columns = fit(&cells, usize::from(width));
    let used: usize = columns.iter().map(|(_, width)| width + GAP).sum();
    let room = (usize::from(width)).checked_sub(used + 1).filter(|room| *room >= ARGUMENTS);
    let mut heading = line(&columns, &TITLES.map(str::to_owned), |_| theme.title);
    if room.is_some() {
        heading.push_span(Span::styled("  ARGUMENTS", theme.title));
    }
    let rows = calls.iter().zip(&cells).map(|(call, cells)| {
        let mut line = line(&columns, cells, |column| match column {
            SYSCALL => theme.title,
            PROCESS => theme.dim,
            _ => Style::new(),
        });
        if let Some(room) = room {
            let text = format::arguments(call.arguments().as_deref(), room);
            line.push_span(Span::styled(format!("  {text}"), theme.dim));
        }
        line
    });
    std::iter::once(heading).chain(rows).collect()
}

fn cells(live: &Live, call: &InFlight) -> [String; COLUMNS] {
    [
        format::reading(call.age_ns, format::ns),
        call.thread.tid.to_string(),
        call.title().into_owned(),
        call.state().unwrap_or(format::NOT_COLLECTED).to_owned(),
        process(live, call),
    ]
}

/// The columns that there is room for, with their widths.
fn fit(rows: &[[String; COLUMNS]], room: usize) -> Vec<(usize, usize)> {
    let wide = |column: usize| {
        let cells = rows.iter().map(|cells| cells[column].columns());
        cells.max().filter(|wide| *wide > 0).map(|wide| wide.max(TITLES[column].len()))
    };
    let mut columns: Vec<_> =
        (0..COLUMNS).filter_map(|column| Some((column, wide(column)?))).collect();
    let used = |columns: &[(usize, usize)]| -> usize {
        columns.iter().map(|(_, width)| width + GAP).sum::<usize>() - GAP + 1
    };
    for dispensable in DISPENSABLE {
        if used(&columns) > room {
            columns.retain(|(column, _)| *column != dispensable);
        }
    }
    // Names give way to numbers.
    let over = used(&columns).saturating_sub(room);
    for (_, width) in columns.iter_mut().filter(|(column, _)| *column == SYSCALL) {
        *width = width.saturating_sub(over);
    }
    columns
}

fn line(
    columns: &[(usize, usize)],
    cells: &[String; COLUMNS],
    style: impl Fn(usize) -> Style,
) -> Line<'static> {
    let mut line = Line::from(" ");
    for (index, (column, width)) in columns.iter().enumerate() {
        if index > 0 {
            line.push_span(Span::raw(" ".repeat(GAP)));
        }
        let width = *width as u16;
        let cell = match NUMBERS.contains(column) {
            true => right(&cells[*column], width),
            false => left(&cells[*column], width),
        };
        line.push_span(Span::styled(cell, style(*column)));
    }
    line
}

/// Whose thread it is, where the header does not say so.
fn process(live: &Live, call: &InFlight) -> String {
    let thread = &call.thread;
    match live.since_attach.subject.pid {
        Some(_) => String::new(),
        None => format!("{} (pid {})", printable(&thread.comm), thread.pid),
    }
}
