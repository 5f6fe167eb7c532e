//! A small table: one syscall's latency, and what it consists of. Its first column is the legend of
//! the bars below it.

use crate::view::width::Columns;
use ratatui::text::{Line, Span};
use syscost_common::cell::PartOf;

use super::{Page, left, number, right};
use crate::{
    model::{Availability, Distribution, Row, TableContext, TableRow, Window, column::Key},
    reading::Reading,
    spread::Spread,
    view::{
        format,
        tui::{Theme, bars::UPWARDS},
    },
};

/// The lines of the table.
pub(super) fn height(context: &TableContext) -> u16 {
    2 + UPWARDS.len() as u16 + u16::from(context.crossing_ns.is_some())
}

const LABEL: u16 = 13;

/// What the columns tell of each line, with their widths.
const FIGURES: [(Figure, u16); 9] = [
    (Figure::Sum, 9),
    (Figure::Share, 7),
    (Figure::Mean, 7),
    (Figure::Min, 7),
    (Figure::Quantile(Key::P50, 0.5), 7),
    (Figure::Quantile(Key::P90, 0.9), 7),
    (Figure::Quantile(Key::P99, 0.99), 7),
    (Figure::Quantile(Key::P999, 0.999), 7),
    (Figure::Max, 8),
];

/// The figures that a narrow screen leaves out, in this order.
const DISPENSABLE: [Figure; 8] = [
    Figure::Min,
    Figure::Quantile(Key::P999, 0.999),
    Figure::Mean,
    Figure::Quantile(Key::P90, 0.9),
    Figure::Sum,
    Figure::Max,
    Figure::Quantile(Key::P50, 0.5),
    Figure::Share,
];

#[derive(Clone, Copy, PartialEq)]
enum Figure {
    Sum,
    Share,
    Mean,
    Min,
    Quantile(Key, f64),
    Max,
}

/// Draws the table at `y`.
pub(super) fn draw(
    page: &mut Page<'_>,
    theme: &Theme,
    (context, window): (&TableContext, Window),
    row: &Row,
    y: u16,
) {
    let figures = fitting(page.area.width);
    let mut headings = left("", LABEL);
    headings.extend(figures.iter().map(|(figure, width)| right(title(*figure, window), *width)));
    page.text_at(0, y, headings, theme.dim);

    let numbers = |value: &dyn Fn(Figure) -> String| -> String {
        figures.iter().map(|(figure, width)| number(&value(*figure), *width)).collect()
    };
    let of_latency = numbers(&|figure| latency(context, window, row, figure));
    page.line(
        y + 1,
        Line::from(vec![
            Span::raw(left("   latency", LABEL)),
            Span::styled(of_latency, theme.title),
        ]),
    );
    for (at, of) in UPWARDS.into_iter().enumerate() {
        let ink = theme.part(of);
        let known = context.part(of, row.sum()) != Reading::NotCollected;
        let legend = if known { ink.full } else { ' ' };
        page.line(
            y + 2 + at as u16,
            Line::from(vec![
                Span::styled(format!(" {legend}"), ink.style),
                Span::raw(left(&format!(" {}", name(of)), LABEL - 2)),
                Span::raw(numbers(&|figure| part(context, window, row, of, figure))),
            ]),
        );
    }
    if let Some(crossing) = context.telling_crossing_ns() {
        draw_boundary(page, theme, (context, window), crossing, row, y + 2 + UPWARDS.len() as u16);
    }
}

/// The boundary cost of these calls, where the machine was calibrated: below the latency and its parts, because it
/// is not one of them.
fn draw_boundary(
    page: &mut Page<'_>,
    theme: &Theme,
    (context, window): (&TableContext, Window),
    crossing: Spread,
    row: &Row,
    y: u16,
) {
    let (cost, calls) = match window {
        Window::Interval => {
            let rate = context.per_sec(row.calls);
            (rate * crossing.median, format!("{}/s", format::rate(rate)))
        }
        Window::SinceAttach => (row.calls as f64 * crossing.median, format::count(row.calls)),
    };
    let cost = format!("≈{}", format::ns_f64(cost));
    let each = format::spread(crossing);
    let sum = page.area.width.saturating_sub(LABEL).min(FIGURES[0].1);
    let room = usize::from(page.area.width.saturating_sub(LABEL + sum));
    // Whole or not at all, from the longest form to the shortest.
    let how = [
        format!("  {calls} × {each}, not a part of the latency"),
        format!("  {calls} × {each}"),
        format!("  {calls} ×"),
        String::new(),
    ];
    let how = how.into_iter().find(|how| how.columns() <= room).unwrap_or_default();
    let line = Line::from(vec![
        Span::raw(left("   boundary", LABEL)),
        Span::raw(number(&cost, sum)),
        Span::styled(how, theme.dim),
    ]);
    page.line(y, line);
}

/// The figures that there is room for.
fn fitting(width: u16) -> Vec<(Figure, u16)> {
    let mut figures = FIGURES.to_vec();
    for dispensable in DISPENSABLE {
        if LABEL + figures.iter().map(|(_, width)| width).sum::<u16>() > width {
            figures.retain(|(figure, _)| *figure != dispensable);
        }
    }
    figures
}

fn name(of: PartOf) -> &'static str {
    match of {
        PartOf::OnCpu => "on CPU",
        PartOf::Runq => "run queue",
        PartOf::Blocked => "blocked",
    }
}

fn title(figure: Figure, window: Window) -> &'static str {
    match figure {
        Figure::Sum if window == Window::Interval => "SUM/s",
        Figure::Sum => "SUM",
        Figure::Share => "SHARE",
        Figure::Mean => Key::Mean.column().title,
        Figure::Min => Key::Min.column().title,
        Figure::Quantile(key, _) => key.column().title,
        Figure::Max => Key::Max.column().title,
    }
}

fn latency(context: &TableContext, window: Window, row: &Row, figure: Figure) -> String {
    let key = match (figure, window) {
        (Figure::Sum, Window::Interval) => Key::TimePerSec,
        (Figure::Sum, Window::SinceAttach) => Key::Time,
        // Its share of itself would be 100 %.
        (Figure::Share, _) => return String::new(),
        (Figure::Mean, _) => Key::Mean,
        (Figure::Min, _) => Key::Min,
        (Figure::Quantile(key, _), _) => key,
        (Figure::Max, _) => Key::Max,
    };
    format::value(&(key.column().get)(context, row))
}

fn part(context: &TableContext, window: Window, row: &Row, of: PartOf, figure: Figure) -> String {
    let sum = context.part(of, row.sum());
    let times = row.parts.as_ref().filter(|_| sum.value().is_some()).map(|parts| parts.get(of));
    let time = |get: &dyn Fn(&Distribution) -> Option<u64>| {
        let figure = |ns| context.part_figure(of, row.sum(), ns);
        format::reading(times.and_then(get).map_or(Reading::NotCollected, figure), format::ns)
    };
    // No part exceeds the latency of the same calls, whose buckets are finer.
    let same = context.trust.parts == Availability::All || row.part_sums.calls == row.calls;
    let within =
        |ns: u64, whole: Option<u64>| whole.filter(|_| same).map_or(ns, |whole| ns.min(whole));
    match figure {
        Figure::Sum if window == Window::Interval => {
            format::reading(sum.map(|ns| context.per_sec(ns)), format::ns_f64)
        }
        Figure::Sum => format::reading(sum, format::ns),
        Figure::Share => {
            format::reading(context.part_pct(of, row.sum()), |pct| format!("{}%", format::pct(pct)))
        }
        Figure::Mean => match sum.value().and_then(|ns| ns.checked_div(row.part_sums.calls)) {
            Some(ns) => format::reading(context.part_figure(of, row.sum(), ns), format::ns),
            None => format::NOT_COLLECTED.to_owned(),
        },
        // Never too low, as percentiles are: the whole's shortest is exact, a part's is a bucket.
        Figure::Min => {
            time(&|times| Some(within(times.buckets().next()?.high_ns, Some(row.latency.min_ns()))))
        }
        Figure::Quantile(_, quantile) => time(&|times| {
            Some(within(times.quantile_ns(quantile)?, row.latency.quantile_ns(quantile)))
        }),
        Figure::Max => time(&|times| Some(times.max_ns())),
    }
}
