//! The header: which process, how fast, which window, and whether the numbers can be trusted.

use ratatui::text::{Line, Span};

use super::{Page, clip};
use crate::{
    decode::printable::printable,
    model::{Model, Window},
    reading::Reading,
    view::{
        format,
        tui::{Filter, Live, Theme, UiState},
    },
};

/// The lines of the whole header.
pub(super) const HEIGHT: u16 = 3;

/// Draws all three lines.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    draw_identity(page, ui, live);
    draw_totals(page, ui, live);
    draw_notes(page, ui, live);
}

/// Draws the first line alone: the process, and whether the numbers can be trusted.
pub(super) fn draw_identity(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let identity = identity(ui, live);
    let status = status(page, ui, live, &identity);
    page.spread(0, identity, status);
}

fn identity(ui: &UiState, live: &Live) -> Line<'static> {
    let model = live.model(ui.window);
    let subject = &model.subject;
    let name = printable(&subject.name).into_owned();
    let mut facts = vec![printable(&subject.detail).into_owned()];
    facts.extend(subject.only.as_deref().map(|only| printable(only).into_owned()));
    if !subject.exited && subject.threads != Reading::NotCollected {
        let threads = format::reading(subject.threads, |n| format::count(n.into()));
        let plural = if subject.threads == Reading::Exact(1) { "" } else { "s" };
        facts.push(format!("{threads} thread{plural}"));
    }
    let exact = model.ledger.exact();
    facts.push(match ui.window {
        Window::Interval => {
            let rate = Reading::exact_if(exact, model.basis().per_sec(model.total.calls));
            format!("{} calls/s", format::reading(rate, format::rate))
        }
        Window::SinceAttach => {
            let calls = Reading::exact_if(exact, model.total.calls);
            format!("{} calls", format::reading(calls, format::count))
        }
    });
    Line::from(vec![
        Span::styled(" syscost  ", ui.theme.dim),
        Span::styled(name, ui.theme.title),
        Span::raw("  "),
        Span::raw(facts.join(" · ")),
    ])
}

fn status(page: &Page<'_>, ui: &UiState, live: &Live, identity: &Line<'_>) -> Line<'static> {
    let theme = &ui.theme;
    let room = usize::from(page.area.width).saturating_sub(identity.width() + 1);
    let fits = |why: &str| state_spans(ui, live).width() + why.chars().count() + 12 <= room;
    let mut line = state_spans(ui, live);
    line.push_span(match why_inexact(live) {
        None => Span::styled(" EXACT ", theme.good),
        Some(why) if fits(&why) => Span::styled(format!(" INEXACT: {why} "), theme.alarm),
        Some(_) => Span::styled(" INEXACT ", theme.alarm),
    });
    line
}

fn state_spans(ui: &UiState, live: &Live) -> Line<'static> {
    let mut line = Line::default();
    let states =
        [(live.since_attach.subject.exited, " EXITED "), (ui.frozen.is_some(), " PAUSED ")];
    for (_, state) in states.into_iter().filter(|(on, _)| *on) {
        line.push_span(Span::styled(state, ui.theme.alarm));
        line.push_span(Span::raw(" "));
    }
    line
}

fn why_inexact(live: &Live) -> Option<String> {
    let losses = live.since_attach.ledger.losses();
    let why: Vec<String> = losses.into_iter().map(|loss| loss.describe()).collect();
    if why.is_empty() { None } else { Some(why.join(", ")) }
}

fn draw_totals(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let model = live.model(ui.window);
    let totals = Line::from(format!(" {}", totals(model, ui.window)));
    let long = windows(ui, live, "window ");
    let fits = totals.width() + long.width() <= page.area.width.into();
    page.spread(1, totals, if fits { long } else { windows(ui, live, "") });
}

/// Both windows, the one that is shown marked.
fn windows(ui: &UiState, live: &Live, prefix: &str) -> Line<'static> {
    let since = format!("since start {}", format::clock(live.since_attach.attached_ns));
    let last = format!("{prefix}{}", window_length(live.interval.window_ns));
    let mut line = Line::default();
    for (window, label) in [(Window::Interval, last), (Window::SinceAttach, since)] {
        line.push_span(if window == ui.window {
            Span::styled(format!("  ▸{label}"), ui.theme.active)
        } else {
            Span::styled(format!("   {label}"), ui.theme.dim)
        });
    }
    line.push_span(Span::raw(" "));
    line
}

fn totals(model: &Model, window: Window) -> String {
    let exact = model.ledger.exact();
    let time = match window {
        Window::Interval => {
            let rate = Reading::exact_if(exact, model.basis().per_sec(model.total.total_ns));
            format!("{}/s", format::reading(rate, format::ns_f64))
        }
        Window::SinceAttach => {
            format::reading(Reading::exact_if(exact, model.total.total_ns), format::ns)
        }
    };
    let errors = match model.total.calls {
        0 => String::new(),
        _ => {
            format!(" · {}% errors", format::pct(model.total.error_pct()))
        }
    };
    format!("{time} in syscalls{errors} · {} in flight", format::count(model.ledger.in_flight))
}

/// The length of an interval, rounded so that a tick's jitter does not show.
fn window_length(ns: u64) -> String {
    let tenths = (ns as f64 / 1e8).round() as u64;
    match tenths {
        0 if ns == 0 => format::NOT_COLLECTED.to_owned(),
        0..2 => format::ns(ns),
        _ if tenths.is_multiple_of(10) => format!("{}s", tenths / 10),
        _ => format!("{}.{}s", tenths / 10, tenths % 10),
    }
}

/// What needs to be said beyond numbers: why they are inexact, what is filtered, the notes.
fn draw_notes(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let theme = &ui.theme;
    let mut notes = Vec::new();
    match &ui.filter {
        Filter::Off => {}
        Filter::Typing(text) => notes.push((format!("filter: {text}▏"), theme.active)),
        Filter::On(text) => notes.push((format!("filter: {text}"), theme.active)),
    }
    if let Some(why) = why_inexact(live).filter(|why| !said(page, ui, live, why)) {
        notes.push((format!(">= is a lower bound: {why}"), theme.mark));
    }
    // Whole or not at all: half a number is a wrong one.
    let used: usize = notes.iter().map(|(note, _)| note.chars().count() + 3).sum();
    let room = usize::from(page.area.width).saturating_sub(used + 2);
    let boundary = boundary(ui, live).filter(|boundary| boundary.chars().count() <= room);
    notes.extend(boundary.map(|boundary| (boundary, theme.dim)));
    notes.extend(live.notes.iter().map(|note| (printable(note).into_owned(), theme.dim)));
    page.line(2, joined(notes, theme, page.area.width));
}

/// What crossing into the kernel and back costs by itself: calls times what a null call takes here.
/// An estimate, set beside the latencies: it lies mostly before and after what they measure.
fn boundary(ui: &UiState, live: &Live) -> Option<String> {
    let crossing = live.crossing_ns?;
    let model = live.model(ui.window);
    let exact = model.ledger.exact();
    let each = format!(
        "{}±{}",
        format::ns_f64(crossing.median),
        format::ns_f64((crossing.high - crossing.low) / 2.0)
    );
    let at_least = if exact { "" } else { ">=" };
    Some(match ui.window {
        Window::Interval => {
            let rate = model.basis().per_sec(model.total.calls);
            let cost = format::ns_f64(rate * crossing.median);
            format!("boundary ≈ {at_least}{cost}/s ({at_least}{} × {each})", format::rate(rate))
        }
        Window::SinceAttach => {
            let calls = model.total.calls;
            let cost = format::ns_f64(calls as f64 * crossing.median);
            format!("boundary ≈ {at_least}{cost} ({at_least}{} × {each})", format::count(calls))
        }
    })
}

/// Whether the first line has room for the reason.
fn said(page: &Page<'_>, ui: &UiState, live: &Live, why: &str) -> bool {
    let status = status(page, ui, live, &identity(ui, live));
    status.spans.iter().any(|span| span.content.contains(why))
}

fn joined(notes: Vec<(String, ratatui::style::Style)>, theme: &Theme, width: u16) -> Line<'static> {
    let mut line = Line::from(" ");
    for (index, (note, style)) in notes.into_iter().enumerate() {
        if index > 0 {
            line.push_span(Span::styled(" · ", theme.dim));
        }
        let room = usize::from(width).saturating_sub(line.width() + 1);
        line.push_span(Span::styled(clip(&note, room), style));
    }
    line
}
