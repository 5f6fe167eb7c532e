//! A tall histogram on a logarithmic time axis, with the percentiles of latency marked: of the parts
//! of latencies stacked on each other, or of whole latencies where these are not known.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{Page, right, spans};
use crate::{
    model::{Distribution, Row},
    view::{
        format,
        tui::{
            Theme,
            axis::LogAxis,
            bars::{self, Stack},
        },
    },
};

/// The lines below the bars: the axis, its labels, the marks.
pub(super) const BELOW: u16 = 3;
/// The characters left of the bars: a count and the axis.
const COUNTS: u16 = 8;

/// Draws the histogram into `area`, axes and marks included.
pub(super) fn draw(page: &mut Page<'_>, theme: &Theme, row: &Row, axis: LogAxis, area: Rect) {
    let (Some(height), Some(width)) =
        (area.height.checked_sub(BELOW), area.width.checked_sub(COUNTS))
    else {
        return;
    };
    // The longest mark is that wide.
    if height == 0 || width < 6 {
        return;
    }
    let x = area.x + COUNTS;
    let peak = match &row.parts {
        Some(parts) => {
            let stacks = axis.stacks(parts, width);
            let peak = bars::peak(&stacks);
            draw_bars(page, (x, area.y, height), |row| {
                spans(stacks.iter().map(|stack| stacked(theme, stack, peak, height, row)))
            });
            peak
        }
        None => {
            let columns = axis.columns(&row.latency, width);
            let peak = columns.iter().copied().max().unwrap_or(0);
            draw_bars(page, (x, area.y, height), |row| {
                let bars = columns.iter().map(|count| bars::cell(*count, peak, height, row));
                vec![Span::styled(bars.collect::<String>(), theme.bar)]
            });
            peak
        }
    };
    draw_counts(page, theme, peak, area, height);
    draw_axis(page, theme, axis, x, area.y + height, width);
    draw_marks(page, theme, &row.latency, axis, (x, area.y + height + 2, width));
}

/// Draws `height` lines, of which `line` is asked for by its row counted from below.
fn draw_bars(
    page: &mut Page<'_>,
    (x, y, height): (u16, u16, u16),
    line: impl Fn(u16) -> Vec<Span<'static>>,
) {
    for from_top in 0..height {
        page.line_at(x, y + from_top, Line::from(line(height - 1 - from_top)));
    }
}

/// The character at `row` of a stack: whole ones have the part's texture, the last one its height.
fn stacked(theme: &Theme, stack: &Stack, peak: u64, height: u16, row: u16) -> (char, Style) {
    let ink = theme.part(bars::part_at(stack, peak, height, row));
    match bars::cell(bars::total(stack), peak, height, row) {
        '█' => (ink.full, ink.style),
        // Half a character of another texture than solid is more like a whole one than like solid.
        '▄' | '▅' | '▆' | '▇' if ink.full != '█' => (ink.full, ink.style),
        other => (other, ink.style),
    }
}

fn draw_counts(page: &mut Page<'_>, theme: &Theme, peak: u64, area: Rect, height: u16) {
    let wide = COUNTS - 1;
    for y in 0..height {
        // A bar of that height means so many calls; the half only where it is one exactly enough.
        let count = if y == 0 {
            Some(peak)
        } else if height >= 6 && height.is_multiple_of(2) && y == height / 2 && peak >= 10 {
            Some(peak / 2)
        } else {
            None
        };
        let label = match count {
            Some(count) => format!("{}┤", right(&format!("{} ", format::count(count)), wide)),
            None => format!("{}│", right("", wide)),
        };
        page.text_at(area.x, area.y + y, label, theme.dim);
    }
}

fn draw_axis(page: &mut Page<'_>, theme: &Theme, axis: LogAxis, x: u16, y: u16, width: u16) {
    let mut line = vec!['─'; width.into()];
    for (at, label) in axis.ticks(width) {
        line[usize::from(at)] = '┬';
        page.text_at(x + at, y + 1, label, theme.dim);
    }
    page.text_at(x - 1, y, format!("└{}", String::from_iter(line)), theme.dim);
}

/// Marks the percentiles below the axis. Where two would collide, the more important one stays.
fn draw_marks(
    page: &mut Page<'_>,
    theme: &Theme,
    latency: &Distribution,
    axis: LogAxis,
    (x, y, width): (u16, u16, u16),
) {
    let marks = [("p50", 0.5), ("p99", 0.99), ("max", 1.0), ("p99.9", 0.999), ("p90", 0.9)];
    let mut taken: Vec<(u16, u16)> = Vec::new();
    for (label, quantile) in marks {
        let Some(ns) = latency.quantile_ns(quantile) else { continue };
        let at = axis.column(ns, width);
        let wide = label.len() as u16 + 1;
        // At the right edge the label goes to the left of its mark.
        let (from, text) = if at + wide <= width {
            (at, format!("▲{label}"))
        } else {
            ((at + 1).saturating_sub(wide), format!("{label}▲"))
        };
        if taken.iter().any(|(start, end)| from < *end && *start < from + wide + 1) {
            continue;
        }
        taken.push((from, from + wide + 1));
        page.text_at(x + from, y, text, theme.mark);
    }
}
