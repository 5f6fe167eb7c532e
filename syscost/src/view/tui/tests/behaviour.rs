//! What keys and actions do.

use std::collections::HashSet;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use syscost_common::cell::PartOf;

use super::fixture::{
    EPOLL_WAIT, OPENAT, host, reads, server, server_with, unparted, with_syscalls,
};
use crate::{
    model::{Window, column::Key},
    view::tui::{
        Action, Effect, Filter, Live, Screen, UiState,
        keymap::{self, BINDINGS, Keys, Place},
        rows::{self, RowKey},
        update,
    },
};

const PLACES: [Place; 7] = [
    Place::Processes,
    Place::Calls,
    Place::Filter,
    Place::Detail,
    Place::Help,
    Place::Ledger,
    Place::InFlight,
];

fn after(live: &Live, actions: &[Action]) -> UiState {
    with(UiState::new(true), live, actions)
}

pub(super) fn with(mut ui: UiState, live: &Live, actions: &[Action]) -> UiState {
    for action in actions {
        assert_eq!(update(&mut ui, *action, live), None, "{action:?}");
    }
    ui
}

fn titles(ui: &UiState, live: &Live) -> Vec<String> {
    rows::entries(ui, ui.shown(live)).iter().map(|entry| entry.title.to_string()).collect()
}

fn selected(ui: &UiState, live: &Live) -> String {
    let entries = rows::entries(ui, ui.shown(live));
    entries[rows::selected(ui, &entries)].title.to_string()
}

#[test]
fn the_first_row_is_what_costs_cpu_time_and_idle_rows_come_last() {
    let order = titles(&UiState::new(true), &server());
    assert_eq!(
        order,
        [
            "read",
            "write",
            "epoll_wait",
            "futex",
            "nanosleep",
            "openat",
            "close",
            "getpid/i386",
            "clone",
            "mmap"
        ]
    );
}

#[test]
fn where_nobody_knows_what_costs_cpu_time_the_time_decides() {
    let mut ui = UiState::new(true);
    assert_eq!(titles(&ui, &unparted())[..3], ["epoll_wait", "nanosleep", "futex"]);
    // It is the column that is really sorted by from which one goes on.
    update(&mut ui, Action::SortNext, &unparted());
    assert_eq!(ui.sort.key, Key::P50);
}

#[test]
fn the_selection_follows_the_syscall_and_not_the_place() {
    let ui = after(&server(), &[Action::Down, Action::Down]);
    assert_eq!(selected(&ui, &server()), "epoll_wait");
    let busier = server_with(|sample| {
        sample.kinds.iter_mut().filter(|kind| kind.key == EPOLL_WAIT).for_each(|kind| {
            kind.parts[PartOf::OnCpu as usize].sum_ns += 100_000_000_000;
        });
    });
    assert_eq!(titles(&ui, &busier)[0], "epoll_wait");
    assert_eq!(selected(&ui, &busier), "epoll_wait");
    assert_eq!(titles(&ui, &server())[2], "epoll_wait");
}

#[test]
fn before_the_first_move_the_selection_stays_at_the_top() {
    let ui = UiState::new(true);
    assert_eq!(selected(&ui, &server()), "read");
    assert_eq!(selected(&ui, &unparted()), "epoll_wait");
    assert_eq!(selected(&ui, &reads(7)), "read");
}

#[test]
fn moving_stops_at_both_ends() {
    let live = with_syscalls(0..100);
    let top = titles(&UiState::new(true), &live);
    let at = |actions: &[Action]| selected(&after(&live, actions), &live);
    assert_eq!(at(&[Action::Up]), top[0]);
    assert_eq!(at(&[Action::Last]), top[99]);
    assert_eq!(at(&[Action::Last, Action::Down, Action::PageDown]), top[99]);
    assert_eq!(at(&[Action::PageDown]), top[19]);
    assert_eq!(at(&[Action::PageDown, Action::PageUp]), top[0]);
    assert_eq!(at(&[Action::Last, Action::First]), top[0]);
}

#[test]
fn a_pause_freezes_what_is_shown_while_measuring_goes_on() {
    let (old, new) = (reads(100), reads(900));
    let mut ui = after(&old, &[Action::Pause]);
    assert_eq!(ui.shown(&new), &old);
    update(&mut ui, Action::Pause, &new);
    assert_eq!(ui.shown(&new), &new);
}

#[test]
fn a_filter_is_a_part_of_the_name_in_any_case() {
    let typed = [Action::Filter, Action::FilterType('R'), Action::FilterType('e')];
    let mut ui = after(&server(), &typed);
    assert_eq!(titles(&ui, &server()), ["read"]);
    update(&mut ui, Action::FilterErase, &server());
    assert_eq!(titles(&ui, &server()), ["read", "write"]);
    update(&mut ui, Action::FilterKeep, &server());
    assert_eq!(ui.filter(), &Filter::On("R".into()));
    // To type on continues what was kept.
    update(&mut ui, Action::Filter, &server());
    assert_eq!(ui.filter(), &Filter::Typing("R".into()));
    update(&mut ui, Action::FilterClear, &server());
    assert_eq!(ui.filter(), &Filter::Off);
    assert_eq!(titles(&ui, &server()).len(), 10);
}

#[test]
fn back_on_the_first_screen_drops_the_filter() {
    let ui = after(
        &server(),
        &[Action::Filter, Action::FilterType('x'), Action::FilterKeep, Action::Back],
    );
    assert_eq!((ui.filter(), ui.screen()), (&Filter::Off, Screen::Calls));
}

#[test]
fn processes_are_listed_by_cpu_time_and_the_idle_as_long_as_they_live() {
    let ui = UiState::processes(true);
    let listed = titles(&ui, &host());
    assert_eq!(
        listed,
        ["  41234 nginx", "    812 postgres", "(other: 40 threads)", "   2001 sshd"]
    );
    let ui = with(ui, &host(), &[Action::ToggleWindow]);
    assert!(titles(&ui, &host()).contains(&"   3999 make".to_owned()), "it is dead, and was not");
}

#[test]
fn a_process_is_found_by_name_or_pid_and_attached_to() {
    for typed in ["NGI", "4123"] {
        let typed = typed.chars().map(Action::FilterType);
        let actions: Vec<_> = [Action::Filter].into_iter().chain(typed).collect();
        let mut ui = with(UiState::processes(true), &host(), &actions);
        update(&mut ui, Action::FilterKeep, &host());
        assert_eq!(titles(&ui, &host()), ["  41234 nginx"]);
        assert_eq!(update(&mut ui, Action::Open, &host()), Some(Effect::Attach(41_234)));
        assert_eq!(ui.screen(), Screen::Processes);
    }
}

#[test]
fn what_is_no_process_cannot_be_attached_to() {
    let mut ui = with(UiState::processes(true), &host(), &[Action::Down, Action::Down]);
    assert_eq!(selected(&ui, &host()), "(other: 40 threads)");
    assert_eq!(update(&mut ui, Action::Open, &host()), None);
}

#[test]
fn who_returns_to_the_list_sees_it_go_on_and_the_process_selected() {
    let mut ui = with(UiState::processes(true), &host(), &[Action::Down, Action::Pause]);
    assert_eq!(update(&mut ui, Action::Open, &host()), Some(Effect::Attach(812)));
    assert!(ui.frozen.is_none());
    assert_eq!(selected(&ui, &host()), "    812 postgres");
}

#[test]
fn why_an_action_came_to_nothing_is_told_until_the_next() {
    let mut ui = UiState::processes(true);
    ui.fail("no process 812".into());
    assert_eq!(ui.failed.as_deref(), Some("no process 812"));
    update(&mut ui, Action::Down, &host());
    assert_eq!(ui.failed, None);
}

#[test]
fn back_on_a_chosen_processs_first_screen_drops_the_filter_and_then_leaves() {
    let mut ui = with(UiState::chosen(true), &server(), &[Action::Open, Action::Back]);
    let typed = [Action::Filter, Action::FilterType('x'), Action::FilterKeep, Action::Back];
    ui = with(ui, &server(), &typed);
    assert_eq!(ui.filter(), &Filter::Off);
    assert_eq!(update(&mut ui, Action::Back, &server()), Some(Effect::Leave));
}

#[test]
fn the_list_can_be_sorted_by_its_own_columns() {
    let mut ui = UiState::processes(true);
    let mut keys = Vec::new();
    for _ in 0..8 {
        keys.push(ui.sort.key);
        update(&mut ui, Action::SortNext, &host());
    }
    let round = [
        Key::OnCpuPerSec,
        Key::RunqPct,
        Key::BlockedPct,
        Key::TimePerSec,
        Key::Mean,
        Key::Name,
        Key::CallsPerSec,
        Key::ErrorsPerSec,
    ];
    assert_eq!(keys, round);
}

#[test]
fn an_empty_filter_is_none() {
    let ui = after(&server(), &[Action::Filter, Action::FilterKeep]);
    assert_eq!(ui.filter(), &Filter::Off);
}

#[test]
fn sorting_goes_round_the_columns_that_are_shown() {
    let mut ui = UiState::new(true);
    let mut keys = Vec::new();
    for _ in 0..8 {
        keys.push(ui.sort.key);
        update(&mut ui, Action::SortNext, &server());
    }
    let round = [
        Key::OnCpuPerSec,
        Key::BlockedPct,
        Key::P50,
        Key::P99,
        Key::Max,
        Key::Name,
        Key::CallsPerSec,
        Key::ErrorPct,
    ];
    assert_eq!(keys, round);
    assert_eq!(ui.sort.key, Key::OnCpuPerSec);
    update(&mut ui, Action::SortPrevious, &server());
    assert_eq!(ui.sort.key, Key::ErrorPct);
    assert_eq!(titles(&ui, &server())[0], "read");
}

#[test]
fn the_order_can_be_reversed_and_idle_rows_stay_last() {
    let ui = after(&server(), &[Action::Reverse]);
    let order = titles(&ui, &server());
    assert_eq!((order[0].as_str(), order[9].as_str()), ("getpid/i386", "mmap"));
}

#[test]
fn the_order_survives_a_change_of_window() {
    let ui = after(&server(), &[Action::SortPrevious, Action::SortPrevious, Action::ToggleWindow]);
    assert_eq!(titles(&ui, &server())[..2], ["read", "epoll_wait"]);
}

#[test]
fn screens_open_and_go_back_to_where_they_were_opened() {
    let mut ui = after(&server(), &[Action::Last, Action::Up, Action::Up, Action::Open]);
    let opened = ui.screen();
    assert!(matches!(opened, Screen::Detail(_)));
    update(&mut ui, Action::Help, &server());
    update(&mut ui, Action::Ledger, &server());
    // Round in a circle.
    update(&mut ui, Action::Help, &server());
    assert_eq!(ui.screen(), Screen::Help);
    update(&mut ui, Action::Help, &server());
    assert_eq!(ui.screen(), opened);
    update(&mut ui, Action::Back, &server());
    assert_eq!(ui.screen(), Screen::Calls);
    assert_eq!(selected(&ui, &server()), "getpid/i386");
}

#[test]
fn on_a_syscalls_screen_up_and_down_go_through_the_rows() {
    let mut ui = after(&server(), &[Action::Open, Action::Down, Action::Down]);
    assert_eq!(ui.screen(), Screen::Detail(EPOLL_WAIT));
    update(&mut ui, Action::Back, &server());
    assert_eq!(selected(&ui, &server()), "epoll_wait");
}

#[test]
fn opening_needs_something_to_open() {
    let live = crate::view::tui::tests::fixture::silent();
    assert_eq!(after(&live, &[Action::Open, Action::Down, Action::Last]).screen(), Screen::Calls);
}

#[test]
fn a_text_scrolls_as_far_as_it_reaches_and_back_at_once() {
    let mut ui = after(&server(), &[Action::Help, Action::Last, Action::Down, Action::PageDown]);
    let end = ui.scroll;
    assert!(end > 0);
    update(&mut ui, Action::Up, &server());
    assert_eq!(ui.scroll, end - 1);
    update(&mut ui, Action::First, &server());
    assert_eq!(ui.scroll, 0);
}

#[test]
fn what_the_screen_cannot_do_is_handed_on() {
    let mut ui = UiState::new(true);
    assert_eq!(update(&mut ui, Action::Quit, &server()), Some(Effect::Quit));
    assert_eq!(update(&mut ui, Action::Interrupt, &server()), Some(Effect::Interrupt));
    assert_eq!(update(&mut ui, Action::Suspend, &server()), Some(Effect::Suspend));
    assert_eq!(update(&mut ui, Action::Redraw, &server()), Some(Effect::Redraw));
}

/// The screen's state in which keys are pressed at `place`.
fn at(place: Place) -> UiState {
    let actions: &[Action] = match place {
        Place::Processes | Place::Calls => &[],
        Place::Filter => &[Action::Filter],
        Place::Detail => &[Action::Open],
        Place::Help => &[Action::Help],
        Place::Ledger => &[Action::Ledger],
        Place::InFlight => &[Action::InFlight],
    };
    let ui = match place {
        Place::Processes => UiState::processes(true),
        _ => UiState::new(true),
    };
    let ui = with(ui, &server(), actions);
    assert_eq!(Place::of(&ui), place);
    ui
}

#[test]
fn every_binding_does_what_the_table_says_and_no_key_has_two() {
    for place in PLACES {
        let ui = at(place);
        let mut seen = HashSet::new();
        for binding in BINDINGS.iter().filter(|binding| binding.places.contains(&place)) {
            let Keys::AnyOf(keys) = binding.keys else { continue };
            for (code, modifiers) in keys {
                assert!(seen.insert((code, modifiers)), "{code:?} twice on {place:?}");
                let pressed = KeyEvent::new(*code, *modifiers);
                assert_eq!(keymap::action(pressed, &ui), Some(binding.action));
            }
        }
    }
}

#[test]
fn every_action_has_a_key() {
    use Action::*;
    let all = [
        Quit,
        Interrupt,
        Suspend,
        Redraw,
        Up,
        Down,
        PageUp,
        PageDown,
        First,
        Last,
        Open,
        Back,
        Help,
        Ledger,
        InFlight,
        ToggleWindow,
        Pause,
        SortNext,
        SortPrevious,
        Reverse,
        Filter,
        FilterType(' '),
        FilterErase,
        FilterKeep,
        FilterClear,
    ];
    // A new action breaks this match, and then belongs into the list above.
    for action in all {
        match action {
            Quit | Interrupt | Suspend | Redraw | Up | Down | PageUp | PageDown | First | Last
            | Open | Back | Help | Ledger | InFlight | ToggleWindow | Pause | SortNext
            | SortPrevious | Reverse | Filter | FilterType(_) | FilterErase | FilterKeep
            | FilterClear => {}
        }
        assert!(BINDINGS.iter().any(|binding| binding.action == action), "{action:?}");
    }
}

#[test]
fn typing_a_filter_takes_letters_that_are_keys_elsewhere() {
    let ui = at(Place::Filter);
    for typed in ['q', 'j', '?', ' ', 'Q', '/'] {
        let pressed = KeyEvent::new(KeyCode::Char(typed), KeyModifiers::NONE);
        assert_eq!(keymap::action(pressed, &ui), Some(Action::FilterType(typed)));
    }
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(keymap::action(ctrl_c, &ui), Some(Action::Interrupt));
}

#[test]
fn shift_is_in_the_letter_already() {
    let pressed = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
    assert_eq!(keymap::action(pressed, &at(Place::Calls)), Some(Action::Last));
    let unknown = KeyEvent::new(KeyCode::Char('x'), KeyModifiers::NONE);
    assert_eq!(keymap::action(unknown, &at(Place::Calls)), None);
}

#[test]
fn help_lists_every_key_and_every_column() {
    let ui = at(Place::Help);
    let buffer = super::screens::draw(&ui, &server(), (120, 100));
    let screen: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
    for binding in BINDINGS {
        assert!(screen.contains(binding.help), "{}", binding.help);
        assert!(screen.contains(&binding.labels().join(" ")), "{:?}", binding.labels());
    }
    for column in crate::model::column::COLUMNS {
        assert!(screen.contains(column.help), "{}", column.id);
    }
}

#[test]
fn an_unopened_syscall_is_not_forgotten_by_a_window_without_it() {
    let ui = after(&server(), &[Action::Last]);
    assert_eq!(selected(&ui, &server()), "mmap");
    assert_ne!(ui.selected, Some(RowKey::Syscall(OPENAT)));
}

#[test]
fn the_totals_are_shown_once_the_target_has_exited() {
    let exited = server_with(|sample| sample.subject.exited = true);
    let mut ui = UiState::new(false);
    ui.show_totals();
    assert_eq!(ui.window, Window::SinceAttach);
    // What is paused is looked at.
    let mut ui = after(&server(), &[Action::Pause]);
    ui.show_totals();
    assert_eq!(ui.window, Window::Interval);
    update(&mut ui, Action::Pause, &exited);
    assert_eq!(ui.window, Window::SinceAttach);
}
