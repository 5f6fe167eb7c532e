//! Every screen at every size: what is there is whole.

use std::collections::HashSet;

use super::{
    behaviour::with,
    fixture::{READ, calibrated, host, server, server_with, silent},
    screens::{draw, lossy, text},
};
use crate::{
    costs::ProgramsCost,
    filter::{SelectedCalls, Selection},
    sample::{Detail, GivenProcess, Measured},
    view::tui::{Action, Live, Screen, UiState},
};

const SIZES: [(u16, u16); 6] = [(20, 5), (40, 10), (60, 20), (80, 24), (120, 40), (200, 60)];

/// Every screen, each with a state of the target that has much to say.
fn screens() -> Vec<(&'static str, UiState, Live)> {
    let long = || {
        calibrated(|sample, costs| {
            let given = vec![GivenProcess { pid: 4_194_303, comm: "a-very-long-nam".into() }];
            sample.subject.measured = Measured::Processes { given, follow: false };
            let words = vec!["read".into(), "write that fail".into()];
            let calls = Some(SelectedCalls { words, ..SelectedCalls::default() });
            sample.subject.selection = Selection { calls, ..Selection::default() };
            costs.programs = Some(ProgramsCost {
                run_pct: 2.7,
                run_ns: None,
                budget_pct: Some(2.0),
                detail: Detail::Full,
            });
        })
    };
    let exited = || server_with(|sample| sample.subject.exited = true);
    let (ui, list) = (|| UiState::new(false), || UiState::processes(false));
    let to = |live: &Live, actions: &[Action]| with(ui(), live, actions);
    let detail = UiState { screen: Screen::Detail(READ), ..ui() };
    vec![
        ("calls", ui(), server()),
        ("since_start", to(&long(), &[Action::ToggleWindow]), long()),
        ("lossy", to(&lossy(), &[Action::Pause]), lossy()),
        ("exited", to(&exited(), &[Action::ToggleWindow]), exited()),
        ("silent", ui(), silent()),
        ("processes", list(), host()),
        ("detail", detail.clone(), server()),
        ("detail_long", detail, long()),
        ("in_flight", to(&server(), &[Action::InFlight]), server()),
        ("in_flight_of_all", with(list(), &host(), &[Action::InFlight]), host()),
        ("ledger", to(&lossy(), &[Action::Ledger]), lossy()),
        ("help", to(&server(), &[Action::Help]), server()),
    ]
}

fn drawn(ui: &UiState, live: &Live, size: (u16, u16)) -> String {
    let mut ui = ui.clone();
    ui.resize(size.0, size.1);
    text(&draw(&ui, live, size))
}

/// Widths at which columns come and go, each with a height of its own and with one that has room for
/// everything.
fn sizes_between() -> impl Iterator<Item = (u16, u16)> {
    let widths = (20..64).step_by(3).chain((64..=200).step_by(8));
    widths.flat_map(|width| [(width, 5 + width % 30), (width, 250)])
}

#[test]
fn sizes() {
    for (name, ui, live) in screens() {
        let screens: Vec<String> = SIZES
            .into_iter()
            .map(|size| format!("{}x{}\n{}", size.0, size.1, drawn(&ui, &live, size)))
            .collect();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("sizes_{name}"), screens.join("\n\n"));
        });
    }
}

#[test]
fn the_keys_for_help_and_quitting_are_on_every_screen() {
    for (name, ui, live) in screens() {
        for (width, height) in sizes_between() {
            let screen = drawn(&ui, &live, (width, height));
            let footer = screen.lines().last().unwrap_or_default().to_owned() + " ";
            let there = footer.contains(" ? help ") && footer.contains(" q quit ");
            assert!(there, "{name} {width}x{height}:\n{screen}");
        }
    }
}

#[test]
fn no_word_and_no_number_is_cut() {
    let words = |screen: &str| -> Vec<String> {
        let split = |c: char| c.is_whitespace() || "·▸▼▲█▒▁▂▃▄▅▆▇│┤┬─└▏".contains(c);
        // Numbers that depend on how many lines or columns there are.
        let lines = screen.lines().filter(|line| !line.contains(" more: "));
        let lines = lines.filter_map(|line| line.split('┤').next_back());
        let words = lines.flat_map(|line| line.split(split));
        let words = words.map(|word| word.trim_matches([',', ':', '.', ';', '(', ')']));
        words.filter(|word| word.chars().any(char::is_alphanumeric)).map(str::to_owned).collect()
    };
    for (name, ui, live) in screens() {
        let whole: HashSet<String> = [(300, 250), (120, 250), (80, 250)]
            .into_iter()
            .flat_map(|size| words(&drawn(&ui, &live, size)))
            .collect();
        for (width, height) in sizes_between() {
            let screen = drawn(&ui, &live, (width, height));
            for word in words(&screen) {
                let cut = || {
                    whole.iter().find(|longer| longer.starts_with(&word) || longer.ends_with(&word))
                };
                let said = whole.contains(&word) || word.ends_with('…');
                assert!(
                    said || cut().is_none(),
                    "{name} {width}x{height}: {word:?} of {:?}\n{screen}",
                    cut()
                );
            }
        }
    }
}

#[test]
fn without_utf8_every_screen_is_ascii_and_nothing_moves() {
    for (name, ui, live) in screens() {
        for size in SIZES {
            let ascii = drawn(&ui.clone().in_ascii(true), &live, size);
            assert!(ascii.is_ascii(), "{name}:\n{ascii}");
            assert!(!ascii.contains('?') || ascii.matches('?').count() <= 2, "{name}:\n{ascii}");
            assert_eq!(ascii, crate::view::ascii::text(&drawn(&ui, &live, size)), "{name}");
        }
    }
    let (_, ui, live) = screens().swap_remove(0);
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("ascii", drawn(&ui.in_ascii(true), &live, (80, 24)));
    });
}
