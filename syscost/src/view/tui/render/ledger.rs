//! The ledger screen: what became of every call, and whether it adds up.

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
    let (text, style) = if losses.is_empty() {
        let text = "Every call since tracing began is accounted for: the numbers are exact.";
        (text.to_owned(), theme.good)
    } else {
        let why: Vec<String> = losses.into_iter().map(|loss| loss.describe()).collect();
        let text =
            format!("Since tracing began: {}. Numbers with >= are lower bounds.", why.join(", "));
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
                part("= recorded", ledger.matched, "came back, and are in their row"),
                part(
                    "+ filtered",
                    ledger.filtered,
                    "came back otherwise than --failed, --errno ask",
                ),
                part("+ in flight", ledger.in_flight, "not back yet"),
                part(
                    "+ ended without exit",
                    ledger.ended_without_exit,
                    "the thread died inside: exit, killed",
                ),
                loss("+ exit missed", Some(ledger.exits_missed), "came back, but it was not seen"),
                loss("+ discarded", Some(ledger.discarded), "came back before they had begun"),
            ],
        ),
        (
            "EXITS",
            vec![
                part("exits", ledger.exits, "returns from the kernel; they are:"),
                part("= recorded", ledger.matched, "of a call seen entering"),
                part("+ open at attach", ledger.open_at_attach, "of a call begun before tracing"),
                part("+ newborn", ledger.newborn_exits, "a child's side of fork, vfork, clone"),
                part("+ orphan", ledger.orphan_exits, "not made: seccomp or a tracer forbade it"),
                part("+ filtered", ledger.filtered, "as above"),
                part("+ interrupted", ledger.interrupted, "by a signal, of a call not done yet"),
                loss("+ discarded", Some(ledger.discarded), "as above"),
            ],
        ),
        (
            "LOSSES",
            vec![
                loss(
                    "program runs skipped",
                    ledger.program_misses,
                    "by the kernel, which counts since 5.12",
                ),
                loss(
                    "no room to open",
                    Some(ledger.open_calls_full),
                    "calls in no row: no memory to follow",
                ),
                loss("shared row", Some(ledger.slots_full), "calls counted in the row (other)"),
                loss(
                    "interrupted twice",
                    Some(ledger.restarts_guessed),
                    "calls that may count as two",
                ),
                loss(
                    "not followed",
                    Some(ledger.targets_full),
                    "children: no room for more processes",
                ),
                loss(
                    "shared group",
                    Some(ledger.groups_full),
                    "dead threads whose calls are in the group (other)",
                ),
                loss("wrapped", Some(ledger.wrapped), "calls gone: nobody looked for too long"),
            ],
        ),
        (
            "DETAIL",
            vec![
                part("parts unknown", ledger.unparted, "calls: switches were not seen all along"),
                part(
                    "wake-ups not seen",
                    ledger.wakeups_missed,
                    "waits whose time in the run queue may count as blocked",
                ),
                part("sampled", ledger.sampled, "calls measured in place of several"),
                part("sampled out", ledger.sampled_out, "calls that those stand for"),
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
    let padding = right("", COUNT_WIDTH.saturating_sub(count.chars().count() as u16));
    let indent = NAME_WIDTH + COUNT_WIDTH + 4;
    let room = usize::from(width.saturating_sub(indent + 1));
    let mut meaning = wrap(entry.meaning, room.max(20)).into_iter();
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
