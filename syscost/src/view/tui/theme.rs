//! The styles, by what they mean.
//!
//! Blue and orange, which colour-blind people tell apart, in shades that stand out from black and
//! from white; text keeps the terminal's own colours. Knows no widget.

use ratatui::style::{Color, Modifier, Style};
use syscost_common::cell::{PARTS, PartOf};

/// How one part of latencies looks in bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ink {
    /// Its colour, or what stands for one.
    pub style: Style,
    /// A whole character of it.
    pub full: char,
}

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
    /// Histograms of whole latencies.
    pub bar: Style,
    /// The parts of latencies, indexed by [`PartOf`]: on the CPU in one colour, off it in another.
    pub parts: [Ink; PARTS],
    /// Marks in a histogram, and errors.
    pub mark: Style,
    /// Numbers can be trusted.
    pub good: Style,
    /// Numbers cannot be trusted, or do not change any more.
    pub alarm: Style,
    /// Whether to draw with ASCII characters alone.
    pub ascii: bool,
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
        // Off the CPU is one colour. The run queue has a texture of it: colour-blind people could not tell a third
        // colour from both others.
        let parts = if no_color {
            [
                Ink { style: bold, full: '█' },
                Ink { style: plain, full: '▒' },
                Ink { style: plain.add_modifier(Modifier::DIM), full: '░' },
            ]
        } else {
            [
                Ink { style: blue, full: '█' },
                Ink { style: orange, full: '▒' },
                Ink { style: orange, full: '█' },
            ]
        };
        Self {
            title: bold,
            dim: plain.add_modifier(Modifier::DIM),
            heading: bold,
            active: blue.patch(bold),
            selected: plain.add_modifier(Modifier::BOLD | Modifier::REVERSED),
            bar: blue,
            parts,
            mark: orange,
            good: blue.patch(bold),
            alarm: orange.patch(bold).add_modifier(Modifier::REVERSED),
            ascii: false,
        }
    }

    /// How a part looks in bars.
    pub fn part(&self, of: PartOf) -> Ink {
        self.parts[of as usize]
    }
}
