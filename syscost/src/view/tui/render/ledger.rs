//! The ledger screen: what became of every call, and whether it adds up.

use crate::view::width::Columns;
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{heading, left, right, wrap};
use crate::{
    model::Ledger,
    view::{
        format,
        tui::{Live, Theme},
    },
};

const NAME_WIDTH: u16 = 22;
const COUNT_WIDTH: u16 = 14;
/// On a screen that is narrower, the meanings stand below the numbers.
const NARROW: u16 = 64;
/// Where numbers end then.
const NARROW_COUNTS: usize = 40;

/// What a number of the ledger says about the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// A part of the account.
    Part,
    /// Above zero it makes the numbers inexact.
    Loss,
}

struct Entry {
    name: &'static str,
    count: Option<u64>,
    weight: Weight,
    meaning: &'static str,
}

/// The whole text in lines of `width`.
pub(super) fn text(theme: &Theme, live: &Live, width: u16) -> Vec<Line<'static>> {
    let ledger = &live.since_attach.ledger;
    let mut lines = verdict(theme, live, width);
    for (title, entries) in parts(ledger) {
        lines.push(Line::default());
        lines.push(heading(theme, title));
        for entry in entries {
            lines.extend(draw(theme, &entry, width));
        }
    }
    lines
}

fn verdict(theme: &Theme, live: &Live, width: u16) -> Vec<Line<'static>> {
    let losses = live.since_attach.ledger.losses();
    let (text, style) = if losses.is_empty() && live.since_attach.trust.sampled {
        let text = "Every call since tracing began is accounted for, but some stand for others: \
                    numbers with ≈ are estimates.";
        (text.to_owned(), theme.mark)
    } else if losses.is_empty() {
        let text = "Every call since tracing began is accounted for: the numbers are exact.";
        (text.to_owned(), theme.good)
    } else {
        let why: Vec<String> = losses.into_iter().map(|loss| loss.describe()).collect();
        let marked = if live.since_attach.trust.guessed {
            "Numbers with ≈ are estimates."
        } else {
            "Numbers with >= are lower bounds."
        };
        let text = format!("Since tracing began: {}. {marked}", why.join(", "));
        (text, theme.mark)
    };
    wrap(&text, usize::from(width).saturating_sub(2).max(10))
        .into_iter()
        .map(|line| Line::from(Span::styled(format!(" {line}"), style)))
        .collect()
}

fn parts(ledger: &Ledger) -> [(&'static str, Vec<Entry>); 4] {
    let part =
        |name, count, meaning| Entry { name, count: Some(count), weight: Weight::Part, meaning };
    let loss = |name, count, meaning| Entry { name, count, weight: Weight::Loss, meaning };
    [
        (
            "CALLS ENTERED",
            vec![
                part("entered", ledger.enters, "calls into the kernel; they are:"),
                part("= recorded", ledger.matched, "finished, and counted in their row"),
                part(
                    "  of them abandoned",
                    ledger.abandoned,
                    "a signal handler did not return to it",
                ),
                part(
                    "+ filtered",
                    ledger.filtered,
                    "finished, but left out by --failed or --errno",
                ),
                part("+ in flight", ledger.in_flight, "not finished yet"),
                part(
                    "+ ended without exit",
                    ledger.ended_without_exit,
                    "the thread ended in the call: exit, or killed",
                ),
                loss(
                    "+ exit missed",
                    Some(ledger.exits_missed),
                    "finished, but the end was not seen",
                ),
                loss(
                    "+ discarded",
                    Some(ledger.discarded),
                    "the clock says they ended before they began",
                ),
            ],
        ),
        (
            "EXITS",
            vec![
                part("exits", ledger.exits, "returns from the kernel; they are:"),
                part("= recorded", ledger.matched, "of a call seen entering"),
                part("+ open at attach", ledger.open_at_attach, "of a call begun before tracing"),
                part(
                    "+ in new children",
                    ledger.newborn_exits,
                    "fork, vfork and clone return in the child as well",
                ),
                part(
                    "+ refused before",
                    ledger.orphan_exits,
                    "of a call that seccomp or a tracer did not let in",
                ),
                part("+ filtered", ledger.filtered, "as above"),
                part(
                    "+ interrupted",
                    ledger.interrupted,
                    "by a signal; the call may go on afterwards",
                ),
                loss("+ discarded", Some(ledger.discarded), "as above"),
            ],
        ),
        (
            "LOSSES",
            vec![
                loss(
                    "program runs skipped",
                    ledger.program_misses.counted(),
                    "by the kernel, which counts since 5.12",
                ),
                loss(
                    "no room to open",
                    Some(ledger.open_calls_full),
                    "calls in no row: no memory to follow",
                ),
                loss("shared row", Some(ledger.slots_full), "calls counted in the row (other)"),
                loss(
                    "ends guessed",
                    Some(ledger.restarts_guessed),
                    "of interrupted calls: each may count as one too many",
                ),
                loss(
                    "not followed",
                    Some(ledger.targets_full),
                    "children: no room for more processes",
                ),
                loss(
                    "read in part",
                    Some(ledger.recording),
                    "calls recorded while they were read; the next reading has all of them",
                ),
                loss(
                    "wrapped",
                    Some(ledger.wrapped),
                    "calls gone: the counters were not read for too long",
                ),
            ],
        ),
        (
            "DETAIL",
            vec![
                part(
                    "shared group",
                    ledger.groups_full,
                    "dead threads whose calls are in the group (other)",
                ),
                part("parts unknown", ledger.unparted, "calls: switches were not seen all along"),
                part(
                    "wake-ups not seen",
                    ledger.wakeups_missed,
                    "waits whose time in the run queue may count as blocked",
                ),
                part(
                    "io_uring",
                    ledger.io_uring_calls,
                    "its calls; what they start is in no row, for it makes none",
                ),
                part(
                    "CPU time not seen",
                    ledger.slices_missed,
                    "times on a CPU that are not in the target's CPU time",
                ),
                part("sampled", ledger.sampled, "calls measured in place of several"),
                part(
                    "stood for",
                    ledger.stood_for,
                    "calls recorded for by those, beside themselves",
                ),
                part(
                    "sampled out",
                    ledger.sampled_out,
                    "calls not measured: another one stands for them",
                ),
            ],
        ),
    ]
}

fn draw(theme: &Theme, entry: &Entry, width: u16) -> Vec<Line<'static>> {
    let (name_style, count_style) = match (entry.weight, entry.count) {
        (Weight::Loss, Some(1..)) => (theme.mark, theme.alarm),
        (_, Some(1..)) => (Style::new(), theme.title),
        _ => (Style::new(), theme.dim),
    };
    let count = entry.count.map_or_else(|| format::NOT_COLLECTED.to_owned(), format::full);
    if width < NARROW {
        return draw_narrow(entry, (name_style, count_style, theme.dim), &count, width.into());
    }
    let padding = right("", COUNT_WIDTH.saturating_sub(count.columns() as u16));
    let indent = NAME_WIDTH + COUNT_WIDTH + 4;
    let room = usize::from(width.saturating_sub(indent + 1));
    let mut meaning = wrap(entry.meaning, room).into_iter();
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("  {}", left(entry.name, NAME_WIDTH)), name_style),
        Span::raw(padding),
        Span::styled(count, count_style),
        Span::styled(format!("  {}", meaning.next().unwrap_or_default()), theme.dim),
    ])];
    lines.extend(meaning.map(|text| {
        Line::from(Span::styled(format!("{}{text}", " ".repeat(indent.into())), theme.dim))
    }));
    lines
}

/// The name and the count, on one line where they fit, and below them the meaning.
fn draw_narrow(
    entry: &Entry,
    (name_style, count_style, dim): (Style, Style, Style),
    count: &str,
    width: usize,
) -> Vec<Line<'static>> {
    let names = wrap(entry.name, width.saturating_sub(3));
    let mut lines: Vec<Line<'static>> = names
        .into_iter()
        .map(|name| Line::from(Span::styled(format!("  {name}"), name_style)))
        .collect();
    let count_width = count.columns();
    let last = lines.last_mut().filter(|line| line.width() + count_width + 2 < width);
    match last {
        Some(line) => {
            let gap = (width - 1).min(NARROW_COUNTS);
            let gap = gap.saturating_sub(line.width() + count_width).max(1);
            line.push_span(Span::raw(" ".repeat(gap)));
            line.push_span(Span::styled(count.to_owned(), count_style));
        }
        None => lines
            .push(Line::from(vec![Span::raw("    "), Span::styled(count.to_owned(), count_style)])),
    }
    let meaning = wrap(entry.meaning, width.saturating_sub(5));
    lines.extend(
        meaning.into_iter().map(|text| Line::from(Span::styled(format!("    {text}"), dim))),
    );
    lines
}
