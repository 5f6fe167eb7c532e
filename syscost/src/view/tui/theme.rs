//! The styles, by what they mean.
//!
//! Blue and orange, which colour-blind people tell apart, in shades that stand out from black and
//! from white; text keeps the terminal's own colours. Knows no widget.

use ratatui::style::{Color, Modifier, Style};

/// How each kind of thing looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// The program's and the syscall's name.
    pub title: Style,
    /// What is there to be looked up, not read.
    pub dim: Style,
    /// Column headings.
    pub heading: Style,
    /// The heading of the column that is sorted by, and whatever else is switched on.
    pub active: Style,
    /// The selected row's name.
    pub selected: Style,
    /// Histograms.
    pub bar: Style,
    /// Marks in a histogram, and errors.
    pub mark: Style,
    /// Numbers can be trusted.
    pub good: Style,
    /// Numbers cannot be trusted, or do not change any more.
    pub alarm: Style,
}

impl Theme {
    /// The styles with colours, or with bold, dim and reverse alone.
    pub fn new(no_color: bool) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let (blue, orange) = if no_color {
            (plain, plain)
        } else {
            (plain.fg(Color::Indexed(33)), plain.fg(Color::Indexed(166)))
        };
        Self {
            title: bold,
            dim: plain.add_modifier(Modifier::DIM),
            heading: bold,
            active: blue.patch(bold),
            selected: plain.add_modifier(Modifier::BOLD | Modifier::REVERSED),
            bar: blue,
            mark: orange,
            good: blue.patch(bold),
            alarm: orange.patch(bold).add_modifier(Modifier::REVERSED),
        }
    }
}
