//! The ledger screen: what became of every call, and whether it adds up.

use crate::view::width::Columns;
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{heading, left, right, wrap};
use crate::{
    model::{
        Ledger,
        ledger::{ENTRIES, Entry, Place, Sign, Sum},
    },
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

/// A line of the screen.
struct Count {
    name: String,
    count: Option<u64>,
    /// Whether it makes numbers inexact where it is above 0.
    is_loss: bool,
    meaning: String,
}

/// The whole text in lines of `width`.
pub(super) fn text(theme: &Theme, live: &Live, width: u16) -> Vec<Line<'static>> {
    let ledger = &live.since_attach.ledger;
    let mut lines = verdict(theme, live, width);
    for (title, counts) in sections(ledger) {
        lines.push(Line::default());
        lines.push(heading(theme, title));
        for count in counts {
            lines.extend(draw(theme, &count, width));
        }
    }
    lines
}

fn verdict(theme: &Theme, live: &Live, width: u16) -> Vec<Line<'static>> {
    let reasons = live.since_attach.ledger.reasons();
    let (text, style) = if reasons.is_empty() && live.since_attach.trust.sampled {
        let text = "Every call since tracing began is accounted for, but some stand for others: \
                    numbers with ≈ are estimates.";
        (text.to_owned(), theme.mark)
    } else if reasons.is_empty() {
        let text = "Every call since tracing began is accounted for: the numbers are exact.";
        (text.to_owned(), theme.good)
    } else {
        let why: Vec<String> = reasons.into_iter().map(|reason| reason.text).collect();
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

/// The account in four sections: both sums, the losses that are in neither, and the rest.
fn sections(ledger: &Ledger) -> [(&'static str, Vec<Count>); 4] {
    let rest = |place| {
        let entries = ENTRIES.iter().filter(|entry| entry.place == place);
        entries.map(|entry| Count::new(ledger, entry, "", entry.meaning)).collect()
    };
    [
        ("CALLS ENTERED", sum(ledger, Sum::Enters)),
        ("EXITS", sum(ledger, Sum::Exits)),
        ("LOSSES", rest(Place::Losses)),
        ("DETAIL", rest(Place::Detail)),
    ]
}

/// What adds up: the whole first. An entry that was in the sum before is not explained again.
fn sum(ledger: &Ledger, sum: Sum) -> Vec<Count> {
    let is_known = |entry: &Entry| sum == Sum::Exits && entry.sign_in(Sum::Enters).is_some();
    let with = |sign| ENTRIES.iter().filter(move |entry| entry.sign_in(sum) == Some(sign));
    let mut counts = Vec::new();
    for entry in with(Sign::Whole).chain(with(Sign::Part)) {
        let (before, meaning) = match counts.len() {
            0 => ("", format!("{}; they are:", entry.meaning)),
            1 => ("= ", entry.meaning.to_owned()),
            _ => ("+ ", entry.meaning.to_owned()),
        };
        let meaning = if is_known(entry) { "as above" } else { &meaning };
        counts.push(Count::new(ledger, entry, before, meaning));
        if !is_known(entry) {
            let within = ENTRIES.iter().filter(|within| within.place == Place::Within(entry.item));
            counts.extend(
                within.map(|within| Count::new(ledger, within, "  of them ", within.meaning)),
            );
        }
    }
    counts
}

impl Count {
    fn new(ledger: &Ledger, entry: &Entry, before: &str, meaning: &str) -> Self {
        Self {
            name: format!("{before}{}", entry.label),
            count: ledger.get(entry.item),
            is_loss: entry.loss.is_some(),
            meaning: meaning.to_owned(),
        }
    }
}

fn draw(theme: &Theme, entry: &Count, width: u16) -> Vec<Line<'static>> {
    let (name_style, count_style) = match (entry.is_loss, entry.count) {
        (true, Some(1..)) => (theme.mark, theme.alarm),
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
    let mut meaning = wrap(&entry.meaning, room).into_iter();
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("  {}", left(&entry.name, NAME_WIDTH)), name_style),
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
    entry: &Count,
    (name_style, count_style, dim): (Style, Style, Style),
    count: &str,
    width: usize,
) -> Vec<Line<'static>> {
    let names = wrap(&entry.name, width.saturating_sub(3));
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
    let meaning = wrap(&entry.meaning, width.saturating_sub(5));
    lines.extend(
        meaning.into_iter().map(|text| Line::from(Span::styled(format!("    {text}"), dim))),
    );
    lines
}
