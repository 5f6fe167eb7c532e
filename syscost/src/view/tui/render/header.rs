//! The header: which process, how fast, which window, and whether the numbers can be trusted.

use crate::view::width::Columns;
use ratatui::text::{Line, Span};
use syscost_common::cell::PartOf;

use super::{Page, clip, clip_words};
use crate::{
    decode::printable::printable,
    model::{Availability, Model, Subject, Window, budget::cannot_be_kept},
    reading::Reading,
    sample::Detail,
    view::{
        blind, cost, format, missing, share,
        tui::{Filter, Live, Theme, UiState},
    },
};

/// The lines of the header on a screen of `rows` lines: the last ones are left out where there is
/// hardly room for what the screen is about.
pub(in crate::view::tui) fn height(rows: u16) -> u16 {
    match rows {
        ..8 => 1,
        8..11 => 2,
        _ => 3,
    }
}

/// Draws all lines that there are.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let lines = height(page.area.height);
    // The answer to the last key comes first.
    let urgent = ui.failed.is_some() || matches!(ui.filter, Filter::Typing(_));
    match lines {
        1 if urgent => draw_notes(page, ui, live, 0),
        1 => draw_identity(page, ui, live),
        _ => {
            draw_identity(page, ui, live);
            if lines == 2 && (urgent || ui.filter != Filter::Off) {
                return draw_notes(page, ui, live, 1);
            }
            draw_totals(page, ui, live);
            if lines > 2 {
                draw_notes(page, ui, live, 2);
            }
        }
    }
}

/// Draws the first line: the target, and whether the numbers are exact.
pub(super) fn draw_identity(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let Identity { left, right, .. } = Identity::fit(page, ui, live);
    page.spread(0, left, right);
}

/// The first line, as much of it as there is room for.
struct Identity {
    left: Line<'static>,
    right: Line<'static>,
    /// Whether it says why numbers are inexact.
    why: bool,
}

/// How much the first line says, from all to the least.
#[derive(Clone, Copy, Default)]
struct Brevity {
    /// Without the reason why numbers are inexact.
    no_why: bool,
    /// Without the name of this program.
    no_brand: bool,
    /// How many of the facts are left out, the least important first.
    fewer: usize,
    /// Without blanks that only please the eye, and the trust as a sign.
    dense: bool,
    /// Without `EXACT`: what is not said to be inexact is exact.
    no_exact: bool,
}

impl Identity {
    fn fit(page: &Page<'_>, ui: &UiState, live: &Live) -> Self {
        /// So many characters of a name are enough to recognise it.
        const NAME: usize = 12;
        let room = usize::from(page.area.width);
        let facts = facts(ui, live);
        let base =
            |no_why, no_brand, fewer| Brevity { no_why, no_brand, fewer, ..Brevity::default() };
        let fewer = (0..=facts.len()).map(|fewer| base(true, true, fewer));
        let least = Brevity { dense: true, ..base(true, true, facts.len()) };
        let steps = [base(false, false, 0), base(true, false, 0)]
            .into_iter()
            .chain(fewer)
            .chain([least, Brevity { no_exact: true, ..least }]);
        let subject = &live.model(ui.window).subject;
        let name = printable(&subject.name);
        for brevity in steps {
            let right = status(ui, live, brevity);
            // A blank stands before the name and one before the status.
            let left = Self::left(ui, "_", &facts, subject, brevity).width() - 1;
            let around = left + right.width() + 1 - usize::from(brevity.no_exact);
            let wide = name.columns();
            let enough = match brevity {
                Brevity { no_exact: true, .. } => 0,
                Brevity { dense: true, .. } => 2,
                _ => wide.min(NAME),
            };
            if around + enough <= room {
                let name = clip(&name, room - around);
                let left = Self::left(ui, &name, &facts, subject, brevity);
                return Self { left, right, why: !brevity.no_why };
            }
        }
        // Of what is that long only the first words tell which one it is.
        let detail = clip_words(&printable(&subject.detail), room);
        Self { left: detail.into(), right: Line::default(), why: false }
    }

    fn left(
        ui: &UiState,
        name: &str,
        facts: &[String],
        subject: &Subject,
        brevity: Brevity,
    ) -> Line<'static> {
        let mut said = vec![printable(&subject.detail).into_owned()];
        // Which one it is, is said by its number. Where there is none, the name says it.
        said.retain(|detail| !brevity.dense || detail.contains(|c: char| c.is_ascii_digit()));
        said.extend(facts[..facts.len() - brevity.fewer].iter().cloned());
        let brand = match brevity {
            Brevity { dense: true, .. } => "",
            Brevity { no_brand: true, .. } => " ",
            _ => " syscost  ",
        };
        Line::from(vec![
            Span::styled(brand, ui.theme.dim),
            Span::styled(name.to_owned(), ui.theme.title),
            Span::raw(match brevity.dense {
                true if name.is_empty() => "",
                true => " ",
                false => "  ",
            }),
            Span::raw(said.join(" · ")),
        ])
    }
}

/// What is said of the target beside its name and its PID, the most important first.
fn facts(ui: &UiState, live: &Live) -> Vec<String> {
    let model = live.model(ui.window);
    let subject = &model.subject;
    let mut facts = Vec::new();
    facts.push(match ui.window {
        Window::Interval => {
            let rate = model.trust.reading(model.context().per_sec(model.total.calls));
            format!("{} calls/s", format::reading(rate, format::rate))
        }
        Window::SinceAttach => {
            let calls = model.trust.reading(model.total.calls);
            format!("{} calls", format::reading(calls, format::count))
        }
    });
    facts.extend(subject.only.as_deref().map(|only| printable(only).into_owned()));
    if !subject.exited && subject.threads != Reading::NotCollected {
        let threads = format::reading(subject.threads, |n| format::count(n.into()));
        let plural = if subject.threads == Reading::Exact(1) { "" } else { "s" };
        facts.push(format!("{threads} thread{plural}"));
    }
    facts
}

fn status(ui: &UiState, live: &Live, brevity: Brevity) -> Line<'static> {
    let theme = &ui.theme;
    let states = [(live.since_attach.subject.exited, "EXITED"), (ui.frozen.is_some(), "PAUSED")];
    let mut states: Vec<_> = states
        .into_iter()
        .filter(|(on, _)| *on)
        .map(|(_, state)| (state.to_owned(), theme.alarm))
        .collect();
    if brevity.no_exact {
        // A paused screen of a process that has exited would not change otherwise either.
        states.truncate(1);
    }
    match why_inexact(live, ui.window) {
        None if live.model(ui.window).trust.sampled => {
            let sampled = if brevity.dense { "≈" } else { "≈ SAMPLED" };
            states.push((sampled.to_owned(), theme.alarm));
        }
        None if brevity.no_exact => {}
        None => states.push(("EXACT".to_owned(), theme.good)),
        Some(why) if !brevity.no_why => states.push((format!("INEXACT: {why}"), theme.alarm)),
        Some(_) if brevity.no_exact => {
            let mark = if live.model(ui.window).trust.guessed { "≈" } else { ">=" };
            states.push((mark.to_owned(), theme.alarm));
        }
        Some(_) => states.push(("INEXACT".to_owned(), theme.alarm)),
    }
    let mut line = Line::default();
    for (index, (state, style)) in states.into_iter().enumerate() {
        if index > 0 {
            line.push_span(Span::raw(" "));
        }
        let state = if brevity.dense { state } else { format!(" {state} ") };
        line.push_span(Span::styled(state, style));
    }
    line
}

fn why_inexact(live: &Live, window: Window) -> Option<String> {
    let reasons = live.model(window).ledger.reasons();
    let why: Vec<String> = reasons.into_iter().map(|reason| reason.text).collect();
    if why.is_empty() { None } else { Some(why.join(", ")) }
}

fn draw_totals(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let totals = totals(live.model(ui.window), ui.window);
    let width = usize::from(page.area.width);
    // The longest that leaves room for the first total, or else the shortest.
    let first = totals.first().map_or(0, |total| total.columns() + 1);
    let mut forms = windows(ui, live);
    let fitting = forms.iter().skip(1).position(|form| form.width() + first <= width);
    let short = fitting.map_or(forms.len() - 1, |index| index + 1);
    // Whole or not at all, the most important ones first.
    let room = width.saturating_sub(forms[short].width());
    let mut line = String::new();
    for total in totals {
        let joint = if line.is_empty() { " " } else { " · " };
        let wide = line.columns() + joint.columns() + total.columns();
        if wide <= room {
            line = format!("{line}{joint}{total}");
        }
    }
    let fits = short == 1 && line.columns() + forms[0].width() <= width;
    let windows = forms.swap_remove(if fits { 0 } else { short });
    if windows.width() <= width {
        page.spread(1, line.into(), windows);
    }
}

/// Both windows, the one that is shown marked; from the longest form to the shortest, which have
/// that one alone.
fn windows(ui: &UiState, live: &Live) -> Vec<Line<'static>> {
    let clock = format::clock(live.since_attach.attached_ns);
    let last = window_length(live.interval.window_ns);
    let both = |prefix: &str| {
        let mut line = Line::default();
        let labels = [
            (Window::Interval, format!("{prefix}{last}")),
            (Window::SinceAttach, format!("since start {clock}")),
        ];
        for (window, label) in labels {
            line.push_span(if window == ui.window {
                Span::styled(format!("  ▸{label}"), ui.theme.active)
            } else {
                Span::styled(format!("   {label}"), ui.theme.dim)
            });
        }
        line.push_span(Span::raw(" "));
        line
    };
    let alone = |label: String| Line::from(Span::styled(format!(" ▸{label} "), ui.theme.active));
    let (long, short) = match ui.window {
        Window::Interval => (format!("window {last}"), last.clone()),
        Window::SinceAttach => (format!("since start {clock}"), "since start".to_owned()),
    };
    vec![both("window "), both(""), alone(long), alone(short)]
}

/// What holds for all calls together, the most important first.
fn totals(model: &Model, window: Window) -> Vec<String> {
    let time = match window {
        Window::Interval => {
            let rate = model.trust.reading(model.context().per_sec(model.total.total_ns));
            format!("{}/s", format::reading(rate, format::ns_f64))
        }
        Window::SinceAttach => {
            format::reading(model.trust.reading(model.total.total_ns), format::ns)
        }
    };
    let time = format!("{time} in syscalls");
    let errors = (model.total.calls > 0)
        .then(|| model.context().figure(model.total.error_pct()))
        .map(|pct| format!("{}% errors", format::reading(pct, format::pct)));
    let in_flight = format!("{} in flight", format::count(model.open_calls()));
    let mut totals = vec![cpu(model, window)];
    // The next best where the parts are not known.
    if model.trust.parts == Availability::None {
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
    let context = model.context();
    let on_cpu = context.part(PartOf::OnCpu, model.total);
    let time = match window {
        Window::Interval => {
            let rate = on_cpu.map(|ns| context.per_sec(ns) / 1e6);
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
fn draw_notes(page: &mut Page<'_>, ui: &UiState, live: &Live, y: u16) {
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
        Some(shed) => Some((shed.into_owned(), theme.alarm)),
        None => missing::parts(model).map(|why| (why, theme.mark)),
    });
    notes.extend(blind::notes(model).into_iter().map(|note| (note, theme.mark)));
    if let Some(why) = why_inexact(live, ui.window).filter(|_| !Identity::fit(page, ui, live).why) {
        let mark = if model.trust.guessed { "≈ is an estimate" } else { ">= is a lower bound" };
        notes.push((format!("{mark}: {why}"), theme.mark));
    }
    notes.extend(live.notes.iter().map(|note| (printable(note).into_owned(), theme.dim)));
    // Notes about what has happened come before the costs, which are shown if there is room.
    let used: usize = notes.iter().map(|(note, _)| note.columns() + 3).sum();
    let room = usize::from(page.area.width).saturating_sub(used + 2);
    notes.extend(costs(model, ui.window, room).into_iter().map(|cost| (cost, theme.dim)));
    page.line(y, joined(notes, theme, page.area.width));
}

/// What the boundary and the probes cost, as long as there is room for: each whole or not at all, for
/// half a number is a wrong one.
fn costs(model: &Model, window: Window, room: usize) -> Vec<String> {
    let (mut boundary, probe) = (boundary(model, window), cost::phrases(model));
    // Why the budget is not kept takes its place.
    if model.cost.is_some_and(cannot_be_kept) {
        boundary.clear();
    }
    let wide = |phrase: &String| phrase.columns();
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
    let Some(crossing) = model.context().telling_crossing_ns() else { return Vec::new() };
    let (at_least, mark) = match () {
        () if model.ledger.guessed() => ("", "≈"),
        () if model.ledger.exact() => ("", ""),
        () => (">=", ">="),
    };
    let (calls, unit) = match window {
        Window::Interval => (model.context().per_sec(model.total.calls), "/s"),
        Window::SinceAttach => (model.total.calls as f64, ""),
    };
    let number = match window {
        Window::Interval => format::rate(calls),
        Window::SinceAttach => format::count(model.total.calls),
    };
    let (cost, each) = (format::ns_f64(calls * crossing.median), format::spread(crossing));
    vec![
        format!("boundary ≈ {at_least}{cost}{unit} ({mark}{number} × {each})"),
        format!("boundary ≈ {at_least}{}{unit}", format::spread(crossing.times(calls))),
    ]
}

/// The notes beside each other, as many as there is room for; the last one may lose words.
fn joined(notes: Vec<(String, ratatui::style::Style)>, theme: &Theme, width: u16) -> Line<'static> {
    let mut line = Line::from(" ");
    for (index, (note, style)) in notes.into_iter().enumerate() {
        let joint = if index > 0 { " · " } else { "" };
        let room = usize::from(width).saturating_sub(line.width() + joint.columns());
        let text = clip_words(&note, room);
        if index > 0 && text.columns() < 2 {
            break;
        }
        line.push_span(Span::styled(joint, theme.dim));
        line.push_span(Span::styled(text, style));
    }
    line
}
