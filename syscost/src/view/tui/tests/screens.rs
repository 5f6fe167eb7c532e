//! What is on the screen.

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};
use syscost_common::{cell::PartOf, ledger::Counter};

use super::{
    behaviour::with,
    fixture::{
        EPOLL_WAIT, READ, SECOND, calibrated, host, host_with, partly_parted, server, server_with,
        shed, silent, unparted, with_syscalls,
    },
};
use crate::{
    costs::ProgramsCost,
    reading::Reading,
    sample::{Detail, SkippedRuns},
    spread::Spread,
    view::{
        fixture::process,
        tui::{Action, Filter, Live, Screen, UiState, render, update},
    },
};

pub(super) fn draw(ui: &UiState, live: &Live, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test terminal");
    terminal.draw(|frame| render(frame, ui, live)).expect("drawing to memory");
    terminal.backend().buffer().clone()
}

pub(super) fn text(buffer: &Buffer) -> String {
    let width = buffer.area.width.into();
    let line = |cells: &[ratatui::buffer::Cell]| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    };
    buffer.content.chunks(width).map(line).collect::<Vec<_>>().join("\n")
}

/// Compares the screen after `actions` with what it was judged to look like, at both sizes.
fn check(name: &str, live: &Live, actions: &[Action]) {
    check_from(name, &UiState::new(false), live, actions);
}

/// The same, of another first screen.
fn check_from(name: &str, first: &UiState, live: &Live, actions: &[Action]) {
    for size in [(80, 24), (120, 40)] {
        let mut ui = first.clone();
        ui.resize(size.0, size.1);
        for action in actions {
            update(&mut ui, *action, live);
        }
        let name = format!("{name}_{}x{}", size.0, size.1);
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, text(&draw(&ui, live, size)));
        });
    }
}

fn typed(text: &str) -> impl Iterator<Item = Action> {
    text.chars().map(Action::FilterType)
}

#[test]
fn calls() {
    check("calls", &server(), &[]);
}

#[test]
fn processes() {
    let list = UiState::processes(false);
    check_from("processes", &list, &host(), &[]);
    check_from("processes_since_attach", &list, &host(), &[Action::ToggleWindow]);
    let none: Vec<Action> = [Action::Filter].into_iter().chain(typed("redis")).collect();
    check_from("processes_without_match", &list, &host(), &none);
    check_from("processes_empty", &list, &silent(), &[]);
}

#[test]
fn a_process_that_could_not_be_attached_to() {
    let lossy = host_with(|sample| sample.ledger.program_misses = SkippedRuns::Counted(8));
    let filter: Vec<Action> =
        [Action::Filter].into_iter().chain(typed("812")).chain([Action::FilterKeep]).collect();
    let mut list = with(UiState::processes(false), &lossy, &filter);
    list.fail("no process 812: it has exited, or the PID is wrong (ps -e lists them)".into());
    check_from("processes_failed", &list, &lossy, &[]);
}

#[test]
fn calls_of_a_chosen_process() {
    check_from("calls_chosen", &UiState::chosen(false), &server(), &[]);
}

#[test]
fn calls_on_a_calibrated_machine() {
    check("calibrated", &calibrated(|_, _| {}), &[]);
    detail("detail_calibrated", &calibrated(|_, _| {}), Screen::Detail(READ), &[]);
    let inexact = calibrated(|sample, _| sample.ledger.program_misses = SkippedRuns::Counted(12));
    check("calibrated_inexact", &inexact, &[Action::ToggleWindow]);
}

#[test]
fn a_boundary_that_is_less_than_its_own_spread_is_not_shown() {
    let known = calibrated(|_, _| {});
    let noisy = calibrated(|_, costs| {
        let known = costs.calibrated.as_mut().expect("it is calibrated");
        known.crossing_ns = Spread { median: 137.0, low: 103.0, high: 467.0 };
    });
    for (live, shown) in [(known, true), (noisy, false)] {
        for opened in [false, true] {
            let mut ui = UiState::new(false);
            ui.resize(120, 40);
            let open = [Action::Filter].into_iter().chain(typed("read"));
            for action in open.chain([Action::FilterKeep, Action::Open]).filter(|_| opened) {
                update(&mut ui, action, &live);
            }
            let screen = text(&draw(&ui, &live, (120, 40)));
            assert_eq!(screen.to_lowercase().contains("boundary"), shown, "{screen}");
        }
    }
}

#[test]
fn what_measuring_costs() {
    let cost = |run_pct, budget_pct| {
        Some(ProgramsCost { run_pct, run_ns: None, budget_pct, detail: Detail::Full })
    };
    check("cost", &calibrated(|_, costs| costs.programs = cost(0.31, None)), &[]);
    check("cost_within_budget", &calibrated(|_, costs| costs.programs = cost(1.8, Some(2.0))), &[]);
    let shed = calibrated(|sample, costs| {
        costs.programs = cost(2.7, Some(2.0));
        sample.detail.level = Detail::NoRunq;
    });
    check("cost_over_budget", &shed, &[]);
    let for_good = calibrated(|sample, costs| {
        let detail = Detail::Sampling(16);
        costs.programs = cost(8.1, Some(2.0)).map(|cost| ProgramsCost { detail, ..cost });
        sample.detail.level = detail;
    });
    check("cost_of_the_hooks_alone", &for_good, &[]);
}

#[test]
fn calls_by_hooks_that_see_no_context_switches() {
    check("unparted", &unparted(), &[]);
    check("unparted_since_attach", &unparted(), &[Action::ToggleWindow]);
    detail("detail_unparted", &unparted(), Screen::Detail(EPOLL_WAIT), &[]);
}

#[test]
fn calls_whose_parts_are_known_of_some() {
    check("partly_parted", &partly_parted(), &[]);
}

#[test]
fn calls_with_less_detail() {
    for (name, level) in [
        ("shed_runq", Detail::NoRunq),
        ("shed_on_cpu", Detail::NoOnCpu),
        ("sampling", Detail::Sampling(16)),
    ] {
        check(name, &shed(level), &[]);
    }
    detail("detail_shed_runq", &shed(Detail::NoRunq), Screen::Detail(EPOLL_WAIT), &[]);
}

#[test]
fn calls_without_a_known_cpu_time() {
    let live = server_with(|sample| sample.cpu.used_ns = Reading::NotCollected);
    check("without_cpu_time", &live, &[]);
}

#[test]
fn without_colour_the_parts_have_textures() {
    check_from("no_color", &UiState::new(true), &server(), &[]);
    let open: Vec<_> = [Action::Filter].into_iter().chain(typed("epoll")).collect();
    let open = [&open[..], &[Action::FilterKeep, Action::Open]].concat();
    check_from("detail_no_color", &UiState::new(true), &server(), &open);
}

#[test]
fn a_shape_shows_what_works_and_what_waits() {
    for no_color in [true, false] {
        let ui = UiState::new(no_color);
        let buffer = draw(&ui, &server(), (80, 24));
        let screen = text(&buffer);
        let looks = |name, of| {
            let y = screen.lines().position(|line| line.contains(name)).expect("it has a row");
            let style = ui.theme.part(of).style;
            let (fg, modifier) = (style.fg.unwrap_or(Color::Reset), style.add_modifier);
            let shape = &buffer.content[y * 80..][66..80];
            let mut bars = shape.iter().filter(|cell| cell.symbol() != " ");
            bars.any(|cell| cell.fg == fg && cell.modifier == modifier)
        };
        assert!(looks("epoll_wait", PartOf::Blocked) && looks("epoll_wait", PartOf::OnCpu));
        assert!(looks("close", PartOf::OnCpu) && !looks("close", PartOf::Blocked));
    }
}

#[test]
fn calls_since_attach() {
    check("calls_since_attach", &server(), &[Action::ToggleWindow]);
}

#[test]
fn calls_selected_and_sorted_by_name() {
    let actions = [Action::Down, Action::Down, Action::Down];
    let back_to_name = [Action::SortPrevious; 3];
    check("calls_by_name", &server(), &[&actions[..], &back_to_name].concat());
}

#[test]
fn calls_scrolled() {
    check("calls_scrolled", &with_syscalls(0..60), &[Action::Last, Action::PageUp]);
}

#[test]
fn empty() {
    check("empty", &silent(), &[]);
}

#[test]
fn paused() {
    check("paused", &server(), &[Action::Pause]);
}

#[test]
fn exited() {
    check("exited", &server_with(|sample| sample.subject.exited = true), &[]);
}

/// The server after the kernel skipped program runs.
pub(super) fn lossy() -> Live {
    let mut live = server_with(|sample| sample.ledger.program_misses = SkippedRuns::Counted(12));
    live.notes.push("also traced: nothing else".into());
    live
}

#[test]
fn inexact() {
    check("inexact", &lossy(), &[]);
}

#[test]
fn inexact_for_two_reasons_and_exited() {
    let live = server_with(|sample| {
        sample.subject.exited = true;
        sample.ledger.program_misses = SkippedRuns::NotCounted;
        sample.ledger.counters[Counter::ExitsMissed as usize] = 3;
        sample.ledger.counters[Counter::OpenCallsFull as usize] = 4_711;
    });
    check("inexact_exited", &live, &[Action::ToggleWindow]);
    check("ledger_inexact", &live, &[Action::Ledger]);
}

#[test]
fn filtering() {
    let actions: Vec<Action> = [Action::Filter].into_iter().chain(typed("re")).collect();
    check("filter_typing", &server(), &actions);
    check("filter_kept", &server(), &[&actions[..], &[Action::FilterKeep]].concat());
    let none: Vec<Action> = [Action::Filter].into_iter().chain(typed("ioctl")).collect();
    check("filter_without_match", &server(), &none);
}

#[test]
fn help() {
    check("help", &server(), &[Action::Help]);
    check("help_scrolled", &server(), &[Action::Help, Action::Last]);
}

#[test]
fn ledger() {
    check("ledger", &server(), &[Action::Ledger]);
}

#[test]
fn in_flight() {
    check("in_flight", &server(), &[Action::InFlight]);
}

#[test]
fn in_flight_where_it_cannot_be_listed() {
    let live = server_with(|sample| sample.open_calls = None);
    check("in_flight_not_collected", &live, &[Action::InFlight]);
}

fn detail(name: &str, live: &Live, screen: Screen, actions: &[Action]) {
    // Opened by way of the filter, so that the order of the rows does not matter here.
    let Screen::Detail(key) = screen else { panic!("not a syscall's screen") };
    let name_of = live.since_attach.row(key).expect("the server calls it").name.clone();
    let open = [Action::Filter].into_iter().chain(typed(&name_of));
    let open = open.chain([Action::FilterKeep, Action::Open]);
    check(name, live, &open.chain(actions.iter().copied()).collect::<Vec<_>>());
}

#[test]
fn details() {
    detail("detail", &server(), Screen::Detail(EPOLL_WAIT), &[]);
    detail("detail_errnos", &server(), Screen::Detail(READ), &[]);
    detail("detail_inexact", &lossy(), Screen::Detail(READ), &[Action::ToggleWindow]);
}

#[test]
fn detail_of_a_syscall_without_a_call_in_the_window() {
    let mmap = crate::sample::KindKey::Call { abi: syscost_common::kind::AbiClass::Native, nr: 9 };
    detail("detail_idle", &server(), Screen::Detail(mmap), &[]);
}

#[test]
fn without_colour_no_cell_has_one() {
    for actions in every_screen() {
        let mut ui = UiState::new(true);
        let live = lossy();
        for action in actions {
            update(&mut ui, action, &live);
        }
        let buffer = draw(&ui, &live, (120, 40));
        let plain =
            |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
        assert!(buffer.content.iter().all(plain));
    }
}

#[test]
fn with_colour_the_background_and_the_text_stay_the_terminals_own() {
    let buffer = draw(&UiState::new(false), &server(), (120, 40));
    assert!(buffer.content.iter().any(|cell| cell.fg != Color::Reset));
    assert!(buffer.content.iter().all(|cell| cell.bg == Color::Reset));
}

fn every_screen() -> Vec<Vec<Action>> {
    vec![
        vec![],
        vec![Action::ToggleWindow, Action::Last],
        vec![Action::Filter, Action::FilterType('e'), Action::Pause],
        vec![Action::Open],
        vec![Action::Down, Action::Down, Action::Open, Action::ToggleWindow],
        vec![Action::Help, Action::Last],
        vec![Action::Ledger, Action::Last],
    ]
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let tall = with_syscalls(0..300);
    let extreme = server_with(|sample| {
        sample.subject.measured = process("日本\u{1b}[31m語\n");
        (sample.begin_ns, sample.end_ns) = (u64::MAX, u64::MAX);
        sample.kinds[0].max_ns = u64::MAX;
        sample.kinds[0].min_ns = 0;
        sample.kinds[1].sum_ns = u64::MAX / 16;
    });
    let widths = [1, 2, 5, 20, 39, 40, 41, 50, 60, 79, 80, 100, 120, 300];
    let heights = [1, 2, 5, 9, 10, 11, 13, 23, 24, 40, 100];
    let lives = [
        server(),
        silent(),
        lossy(),
        tall,
        extreme,
        unparted(),
        partly_parted(),
        shed(Detail::Sampling(16)),
    ];
    for live in lives {
        for actions in every_screen() {
            for size in widths.iter().flat_map(|w| heights.iter().map(|h| (*w, *h))) {
                let mut ui = UiState::new(false);
                ui.resize(size.0, size.1);
                for action in &actions {
                    update(&mut ui, *action, &live);
                }
                draw(&ui, &live, size);
            }
        }
    }
}

#[test]
fn a_size_that_was_not_told_does_no_harm() {
    let mut ui = UiState::new(false);
    ui.resize(0, 0);
    for actions in every_screen() {
        for action in actions {
            update(&mut ui, action, &server());
            draw(&ui, &server(), (80, 24));
        }
    }
}

#[test]
fn a_process_cannot_speak_to_the_terminal_by_its_name() {
    let live = server_with(|sample| sample.subject.measured = process("a\u{1b}[2Jb\rc"));
    let screen = text(&draw(&UiState::new(true), &live, (80, 24)));
    assert!(screen.contains(r"a\u{1b}[2Jb\rc"), "{screen}");
}

#[test]
fn the_rows_own_axis_does_not_jump_between_windows() {
    let ticks = |ui: &UiState| {
        text(&draw(ui, &server(), (120, 40)))
            .lines()
            .nth(3)
            .map(|line| line.split_once("MAX").map(|(_, ticks)| ticks.to_owned()))
    };
    let mut ui = UiState::new(true);
    let interval = ticks(&ui);
    update(&mut ui, Action::ToggleWindow, &server());
    assert_eq!(interval, ticks(&ui));
}

#[test]
fn a_second_of_jitter_free_time_is_called_a_second() {
    let live = server_with(|sample| sample.begin_ns -= SECOND / 500);
    let screen = text(&draw(&UiState::new(true), &live, (80, 24)));
    assert!(screen.contains("▸1s "), "{screen}");
}

#[test]
fn what_is_typed_is_shown_while_it_is_typed() {
    let mut ui = UiState::new(true);
    update(&mut ui, Action::Filter, &server());
    update(&mut ui, Action::FilterType('x'), &server());
    assert_eq!(ui.filter(), &Filter::Typing("x".into()));
    assert!(text(&draw(&ui, &server(), (80, 24))).contains("filter: x▏"));
}
