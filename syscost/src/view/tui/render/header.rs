//! The header: which process, how fast, which window, and whether the numbers can be trusted.

use ratatui::text::{Line, Span};
use syscost_common::cell::PartOf;

use super::{Page, clip};
use crate::{
    decode::printable::printable,
    model::{Known, Model, Window},
    reading::Reading,
    sample::Detail,
    view::{
        cost, format, missing, share,
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
    facts.push(match ui.window {
        Window::Interval => {
            let rate = model.trust.reading(model.basis().per_sec(model.total.calls));
            format!("{} calls/s", format::reading(rate, format::rate))
        }
        Window::SinceAttach => {
            let calls = model.trust.reading(model.total.calls);
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
        None if live.model(ui.window).trust.sampled => Span::styled(" ≈ SAMPLED ", theme.alarm),
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
    let totals = totals(live.model(ui.window), ui.window);
    let width = usize::from(page.area.width);
    let (long, short) = (windows(ui, live, "window "), windows(ui, live, ""));
    // Whole or not at all, the most important ones first.
    let mut line = String::new();
    for total in totals {
        let joint = if line.is_empty() { " " } else { " · " };
        let wide = line.chars().count() + joint.len() + total.chars().count() + short.width();
        if line.is_empty() || wide <= width {
            line = format!("{line}{joint}{total}");
        }
    }
    let fits = line.chars().count() + long.width() <= width;
    page.spread(1, line.into(), if fits { long } else { short });
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

/// What holds for all calls together, the most important first.
fn totals(model: &Model, window: Window) -> Vec<String> {
    let time = match window {
        Window::Interval => {
            let rate = model.trust.reading(model.basis().per_sec(model.total.total_ns));
            format!("{}/s", format::reading(rate, format::ns_f64))
        }
        Window::SinceAttach => {
            format::reading(model.trust.reading(model.total.total_ns), format::ns)
        }
    };
    let time = format!("{time} in syscalls");
    let errors = (model.total.calls > 0)
        .then(|| format!("{}% errors", format::pct(model.total.error_pct())));
    let in_flight = format!("{} in flight", format::count(model.ledger.in_flight));
    let mut totals = vec![cpu(model, window)];
    // What comes next where nobody knows what costs CPU time.
    if model.trust.parts == Known::Nothing {
        totals.push(time);
        totals.extend(errors);
        totals.push(in_flight);
    } else {
        totals.extend(errors);
        totals.push(in_flight);
        totals.push(time);
    }
    totals
}

/// How much of its CPU time goes into syscalls; where that is not known, how much CPU time does.
fn cpu(model: &Model, window: Window) -> String {
    if let Some(share) = share::of_cpu_time(model) {
        return share;
    }
    let basis = model.basis();
    let on_cpu = basis.part(PartOf::OnCpu, model.total);
    let time = match window {
        Window::Interval => {
            let rate = on_cpu.map(|ns| basis.per_sec(ns) / 1e6);
            if rate == Reading::NotCollected {
                format::NOT_COLLECTED.to_owned()
            } else {
                format!("{} ms/s", format::reading(rate, format::rate))
            }
        }
        Window::SinceAttach => format::reading(on_cpu, format::ns),
    };
    format!("syscalls: CPU {time}")
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

/// What needs to be said beyond numbers: what came to nothing, what is filtered, why numbers are inexact,
/// the notes.
fn draw_notes(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let theme = &ui.theme;
    let mut notes = Vec::new();
    // The user waits for an answer; that numbers are inexact is said in the first line as well.
    notes.extend(ui.failed.as_ref().map(|why| (printable(why).into_owned(), theme.mark)));
    match &ui.filter {
        Filter::Off => {}
        Filter::Typing(text) => notes.push((format!("filter: {text}▏"), theme.active)),
        Filter::On(text) => notes.push((format!("filter: {text}"), theme.active)),
    }
    let model = live.model(ui.window);
    notes.extend(match missing::shed(model.detail) {
        Some(shed) => Some((shed.to_owned(), theme.alarm)),
        None => missing::parts(model).map(|why| (why, theme.mark)),
    });
    if let Some(why) = why_inexact(live).filter(|why| !said(page, ui, live, why)) {
        notes.push((format!(">= is a lower bound: {why}"), theme.mark));
    }
    notes.extend(live.notes.iter().map(|note| (printable(note).into_owned(), theme.dim)));
    // What has just happened comes before what measuring costs, which there is room for or not.
    let used: usize = notes.iter().map(|(note, _)| note.chars().count() + 3).sum();
    let room = usize::from(page.area.width).saturating_sub(used + 2);
    notes.extend(costs(model, ui.window, room).into_iter().map(|cost| (cost, theme.dim)));
    page.line(2, joined(notes, theme, page.area.width));
}

/// What the boundary and the probes cost, as long as there is room for: each whole or not at all, for
/// half a number is a wrong one.
fn costs(model: &Model, window: Window, room: usize) -> Vec<String> {
    let (boundary, probe) = (boundary(model, window), cost::phrases(model));
    let wide = |phrase: &String| phrase.chars().count();
    // The boundary says how it comes about before the probes say all of what they add.
    let both =
        boundary.iter().flat_map(|boundary| probe.iter().map(move |probe| vec![boundary, probe]));
    // Where detail is shed, what that is done for is the first question.
    let (first, second) = match model.detail {
        Detail::Full => (&boundary, &probe),
        _ => (&probe, &boundary),
    };
    let alone = first.iter().chain(second).map(|phrase| vec![phrase]);
    let fits = |phrases: &Vec<&String>| {
        phrases.iter().map(|phrase| wide(phrase)).sum::<usize>() + 3 * (phrases.len() - 1) <= room
    };
    let chosen = both.chain(alone).find(fits).unwrap_or_default();
    chosen.into_iter().cloned().collect()
}

/// What crossing into the kernel and back costs by itself: calls times what a null call takes here.
/// An estimate, set beside the latencies: it lies mostly before and after what they measure. In a long
/// and a short form, both with their spread.
fn boundary(model: &Model, window: Window) -> Vec<String> {
    let Some(calibrated) = model.calibrated else { return Vec::new() };
    let crossing = calibrated.crossing_ns;
    let at_least = if model.ledger.exact() { "" } else { ">=" };
    let (calls, unit) = match window {
        Window::Interval => (model.basis().per_sec(model.total.calls), "/s"),
        Window::SinceAttach => (model.total.calls as f64, ""),
    };
    let number = match window {
        Window::Interval => format::rate(calls),
        Window::SinceAttach => format::count(model.total.calls),
    };
    let (cost, each) = (format::ns_f64(calls * crossing.median), format::spread(crossing));
    vec![
        format!("boundary ≈ {at_least}{cost}{unit} ({at_least}{number} × {each})"),
        format!("boundary ≈ {at_least}{}{unit}", format::spread(crossing.times(calls))),
    ]
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
