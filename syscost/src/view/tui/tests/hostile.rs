//! Whatever a name is made of, the screens stay screens.

use proptest::prelude::*;

use super::{
    fixture::{host_with, server_with},
    screens::{draw, text},
};
use crate::{
    decode::printable::printable,
    view::{
        hostile::{name, rename},
        tui::{Action, UiState, update},
    },
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn no_name_gets_out_of_its_cells(name in name()) {
        for live in [host_with(|sample| rename(sample, &name)), server_with(|sample| rename(sample, &name))] {
            for action in [None, Some(Action::InFlight)] {
                let mut ui = UiState::new(false);
                if let Some(action) = action {
                    update(&mut ui, action, &live);
                }
                let screen = text(&draw(&ui, &live, (100, 30)));
                for line in screen.lines() {
                    prop_assert_eq!(printable(line), line);
                }
            }
        }
    }
}
