//! The table that `stat` prints, similar to that of `strace -c` and `perf stat`: aligned text without boxes.

use super::width::{Columns, aligned_left, aligned_right};
use std::io::{self, Write};

use super::{Order, ascii, blind, format, missing, share};
use crate::{
    decode::{errno, printable::printable},
    group::GroupBy,
    model::{
        InFlight, Model, Row, Sum, TableContext, TableRow, Total, Window,
        column::{COLUMNS, Column, Key, Needs, Priority, Value},
    },
    sample::ThreadName,
};

/// How to print a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// Which rows, and in which order.
    pub order: Order,
    /// How wide the terminal is; where it is too narrow, some columns are left out. `None` where
    /// there is none: a file has room for all.
    pub width: Option<usize>,
    /// Whether to write headings and exactness in bold and colours.
    pub color: bool,
    /// Whether to write ASCII characters alone.
    pub ascii: bool,
}

impl TableOptions {
    /// The width to aim for.
    fn aim(&self) -> usize {
        self.width.unwrap_or(100)
    }
}

/// Writes `model` as a table.
pub fn write(mut out: impl Write, model: &Model, options: &TableOptions) -> io::Result<()> {
    if options.ascii {
        let mut text = Vec::new();
        write_utf8(&mut text, &ascii::names(model), options)?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        out.write_all(ascii::text(&text).as_bytes())
    } else {
        write_utf8(out, model, options)
    }
}

fn write_utf8(mut out: impl Write, model: &Model, options: &TableOptions) -> io::Result<()> {
    let paint = Paint(options.color);
    let trust = trust(model);
    let style = if trust == "EXACT" { GOOD } else { ALARM };
    writeln!(out, "{}, {}", heading(model), paint.over(trust, style))?;
    if let Some(share) = share::of_cpu_time(model) {
        writeln!(out, "{share}")?;
    }
    writeln!(out)?;
    let (grid, errors) = match &model.groups {
        Some(groups) => {
            let context = model.group_context();
            let (rows, rest) = options.order.split(&groups.rows, &context);
            // Errnos are not known by group.
            (Grid::new(groups.by, &context, &rows, &rest, options), String::new())
        }
        None => {
            let context = model.context();
            let (rows, rest) = options.order.split(&model.rows, &context);
            let grid = Grid::new(GroupBy::Syscall, &context, &rows, &rest, options);
            (grid, errors(model, &rows, options.aim()))
        }
    };
    match grid {
        None => {
            writeln!(out, "no system call finished in this time")?;
            if let Some(why) = missing::calls(&model.subject) {
                writeln!(out, "{why}")?;
            }
        }
        Some(grid) => {
            for (index, line) in grid.lines().enumerate() {
                writeln!(out, "{}", if index == 0 { paint.over(&line, BOLD) } else { line })?;
            }
        }
    }
    for block in [errors, in_flight(model, options.width), reasons(model, &paint), missing(model)] {
        if !block.is_empty() {
            writeln!(out, "\n{block}")?;
        }
    }
    Ok(())
}

fn heading(model: &Model) -> String {
    let seconds = |ns: u64| format!("{:.2}", ns as f64 / 1e9);
    let subject = &model.subject;
    let (name, detail) = (printable(&subject.name), printable(&subject.detail));
    let exited = if subject.exited { ", exited" } else { "" };
    let only = subject.only.as_deref().map(|only| format!(", {}", printable(only)));
    let only = only.unwrap_or_default();
    let window = match model.window {
        Window::SinceAttach => seconds(model.window_ns),
        Window::Interval => {
            let from = model.attached_ns.saturating_sub(model.window_ns);
            format!("{}–{}", seconds(from), seconds(model.attached_ns))
        }
    };
    let calls = format::reading(model.trust.reading(model.total.calls), format::full);
    let noun = if model.total.calls == 1 { "call" } else { "calls" };
    format!("{name} ({detail}{exited}), {window} s{only}, {calls} {noun}")
}

/// How far to trust the numbers, in a word.
fn trust(model: &Model) -> &'static str {
    match (model.ledger.exact(), model.trust.sampled) {
        (false, _) => "NOT EXACT",
        (true, true) => "SAMPLED",
        (true, false) => "EXACT",
    }
}

/// The colours of the live screen (ECMA-48, with xterm's 256 colours).
const BOLD: &str = "1";
const GOOD: &str = "1;38;5;33";
const ALARM: &str = "1;38;5;166";

/// Whether there are colours.
struct Paint(bool);

impl Paint {
    fn over(&self, text: &str, style: &str) -> String {
        if self.0 { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Cells of text and how to line them up.
struct Grid {
    columns: Vec<&'static Column>,
    /// The titles come first.
    lines: Vec<Vec<String>>,
    width: usize,
}

impl Grid {
    /// `None` without a row.
    fn new<R: TableRow>(
        by: GroupBy,
        context: &TableContext,
        rows: &[&R],
        rest: &[&R],
        options: &TableOptions,
    ) -> Option<Self> {
        if rows.is_empty() {
            return None;
        }
        let sort = options.order.sort.or_next_best(context.trust);
        let columns: Vec<_> = COLUMNS
            .iter()
            .filter(|column| column.stat != Priority::Sorted || column.key == sort)
            .filter(|column| match column.needs {
                Needs::Histogram => by == GroupBy::Syscall,
                Needs::Calibration => context.telling_crossing_ns().is_some(),
                // That a part was not collected is shown by its column.
                Needs::Part(_) | Needs::Nothing => true,
            })
            .collect();
        let line = |cell: &dyn Fn(&Column) -> String| -> Vec<String> {
            columns.iter().map(|column| cell(column)).collect()
        };
        let mut lines = vec![line(&|column| match column.key {
            Key::Name => by.title().to_owned(),
            _ => column.title.to_owned(),
        })];
        for row in rows {
            lines.push(line(&|column| text((column.get)(context, *row))));
        }
        if !rest.is_empty() {
            let label = format!("… and {} more", rest.len());
            let sum = Total::of(rest.iter().copied());
            lines.push(line(&|column| sum_cell(context, column, &label, sum)));
        }
        lines.push(line(&|column| sum_cell(context, column, "total", context.total)));
        let mut grid = Self { columns, lines, width: options.aim() };
        if options.width.is_some() {
            let rank = |column: &&Column| match column.stat {
                Priority::Droppable(rank) if column.key != sort => Some(rank),
                _ => None,
            };
            let mut dropped: Vec<_> =
                grid.columns.iter().copied().filter(|column| rank(column).is_some()).collect();
            dropped.sort_by_key(rank);
            for column in dropped {
                if grid.fits(1) {
                    break;
                }
                grid.remove(column.key);
            }
        }
        Some(grid)
    }

    fn remove(&mut self, key: Key) {
        let Some(place) = self.columns.iter().position(|column| column.key == key) else { return };
        self.columns.remove(place);
        for line in &mut self.lines {
            line.remove(place);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let width = |place: usize| self.lines.iter().map(move |line| line[place].columns());
        (0..self.columns.len()).map(|place| width(place).max().unwrap_or(0)).collect()
    }

    fn fits(&self, gap: usize) -> bool {
        self.widths().iter().sum::<usize>() + gap * (self.columns.len() - 1) <= self.width
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let gap = if self.fits(2) { 2 } else { 1 };
        let widths = self.widths();
        self.lines.iter().map(move |line| {
            let mut text = String::new();
            for ((cell, column), width) in line.iter().zip(&self.columns).zip(&widths) {
                if !text.is_empty() {
                    text.push_str(&" ".repeat(gap));
                }
                if column.key == Key::Name {
                    text.push_str(&aligned_left(cell, *width));
                } else {
                    text.push_str(&aligned_right(cell, *width));
                }
            }
            text.truncate(text.trim_end().len());
            text
        })
    }
}

/// A cell of a line of sums; empty where the column is no sum.
fn sum_cell(context: &TableContext, column: &Column, label: &str, total: Total) -> String {
    if column.needs_no_histogram() {
        text((column.get)(context, &Sum { label, total }))
    } else {
        String::new()
    }
}

/// `errors: read EAGAIN 1,900, EINTR 2; openat ENOENT 12`, folded to `width`.
fn errors(model: &Model, rows: &[&Row], width: usize) -> String {
    const LABEL: &str = "errors:";
    let mut items: Vec<String> = rows
        .iter()
        .filter(|row| !row.errnos.is_empty())
        .map(|row| {
            let counts = row.errnos.iter().map(|&(errno, count)| {
                format!(
                    "{} {}",
                    errno::symbol(errno),
                    format::reading(model.trust.reading(count), format::full)
                )
            });
            format!("{} {}", row.title(), counts.collect::<Vec<_>>().join(", "))
        })
        .collect();
    let Some(last) = items.pop() else { return String::new() };
    let mut text = LABEL.to_owned();
    let mut column = LABEL.len();
    for item in items.into_iter().map(|item| item + ";").chain([last]) {
        let length = item.columns();
        if column > LABEL.len() && column + 1 + length > width {
            text.push('\n');
            text.push_str(&" ".repeat(LABEL.len()));
            column = LABEL.len();
        }
        text.push(' ');
        text.push_str(&item);
        column += 1 + length;
    }
    text
}

/// The open calls. Without them, a process that waits in one call would seem to do nothing.
fn in_flight(model: &Model, width: Option<usize>) -> String {
    let sentence = match model.open_calls() {
        0 => return String::new(),
        1 => "in flight: 1 call has not returned yet and is not counted above".to_owned(),
        n => format!(
            "in flight: {} calls have not returned yet and are not counted above",
            format::full(n)
        ),
    };
    sentence + &oldest(model, width)
}

/// The oldest open calls.
fn oldest(model: &Model, width: Option<usize>) -> String {
    const SHOWN: usize = 5;
    let calls = model.in_flight.as_deref().unwrap_or_default();
    let shown: Vec<_> = calls.iter().take(SHOWN).map(|call| (call, thread(model, call))).collect();
    let widest = |length: &dyn Fn(&(&InFlight, String)) -> usize| {
        shown.iter().map(length).max().unwrap_or(0)
    };
    let thread = widest(&|(_, thread)| thread.columns());
    let name = widest(&|(call, _)| call.title().columns());
    let mut lines: Vec<String> = shown
        .iter()
        .map(|(call, of)| {
            let age = format::reading(call.age_ns, format::ns);
            let state = call.state().unwrap_or(format::NOT_COLLECTED);
            let (of, title) = (aligned_left(of, thread), aligned_left(&call.title(), name));
            let line = format!("  {age:>8}  {of}  {title}  {state:<7}  ");
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(line.columns()));
            let line = line + &format::arguments(call.arguments().as_deref(), room);
            format!("\n{}", line.trim_end())
        })
        .collect();
    let more = model.open_calls() - lines.len() as u64;
    if !lines.is_empty() && more > 0 {
        lines.push(format!("\n  … and {} more", format::full(more)));
    }
    lines.concat()
}

/// The thread, and its process where that is not clear from the heading.
fn thread(model: &Model, call: &InFlight) -> String {
    let ThreadName { tid, pid, comm } = &call.thread;
    match model.subject.pid {
        Some(_) => format!("tid {tid}"),
        None if tid == pid => format!("{} (pid {pid})", printable(comm)),
        None => format!("{} (pid {pid}) tid {tid}", printable(comm)),
    }
}

fn reasons(model: &Model, paint: &Paint) -> String {
    let reasons = model.ledger.reasons();
    if reasons.is_empty() {
        return String::new();
    }
    let lines: String = reasons.into_iter().map(|reason| format!("\n  {}", reason.text)).collect();
    let marked = if model.trust.guessed {
        "what has a ≈ may be more or less"
    } else {
        "what has a >= may be more"
    };
    format!("{}: {marked}. Since attaching:{lines}", paint.over("NOT EXACT", ALARM))
}

/// Why numbers are missing or are estimates.
fn missing(model: &Model) -> String {
    let shed = missing::shed(model.detail).map(|shed| format!("in the end, {shed}"));
    let sampled = model.trust.sampled.then(|| {
        "what has a ≈ is an estimate: some calls were measured in place of several".to_owned()
    });
    let lines = [missing::parts(model), shed, sampled, apart(model), missing::budget(model)];
    let lines = lines.into_iter().flatten();
    lines.chain(blind::notes(model)).collect::<Vec<_>>().join("\n")
}

/// The difference between the calls in the heading and in the rows of groups.
fn apart(model: &Model) -> Option<String> {
    let rows = model.groups.as_ref()?.total.calls;
    let differ = match model.total.calls.abs_diff(rows) {
        0 => return None,
        1 => "1 call was recorded while the rows were read, and is".to_owned(),
        n => format!("{} calls were recorded while the rows were read, and are", format::full(n)),
    };
    let (there, missing) = ("in the heading", "in no row yet");
    Some(match model.total.calls > rows {
        true => format!("{differ} {there} and {missing}"),
        false => format!("{differ} in their rows and not {there} yet"),
    })
}

fn text(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        Value::Count(count) => format::reading(count, format::full),
        Value::PerSec(rate) => format::reading(rate, per_sec),
        Value::Pct(pct) => format::reading(pct, |pct| format!("{pct:.1}")),
        Value::Ns(ns) => format::reading(ns, time),
        Value::NsPerSec(rate) => format::reading(rate, |ns| time(ns.round() as u64)),
        Value::CpuPerSec(rate) => format::reading(rate, |ns| per_sec(ns / 1e6)),
    }
}

/// Whole numbers where they say enough.
fn per_sec(rate: f64) -> String {
    match rate {
        r if r >= 99.95 => format::full(r.round() as u64),
        r if r >= 9.995 => format!("{r:.1}"),
        r => format!("{r:.2}"),
    }
}

/// Three significant digits and a unit: the buckets know no more. A live screen has room for two.
fn time(ns: u64) -> String {
    if ns < 1_000 {
        return format!("{ns}ns");
    }
    for (unit, length) in [("µs", 1e3), ("ms", 1e6), ("s", 1e9)] {
        // Compared with what rounding makes of it, so that no `1000µs` or `10.00ms` comes out.
        match ns as f64 / length {
            n if n < 9.995 => return format!("{n:.2}{unit}"),
            n if n < 99.95 => return format!("{n:.1}{unit}"),
            n if n < 999.5 => return format!("{n:.0}{unit}"),
            _ => {}
        }
    }
    format!("{}s", format::full((ns as f64 / 1e9).round() as u64))
}

#[cfg(test)]
mod tests;
