//! Draws the screen: `render` and one module for each part of it.
//!
//! Changes nothing, decides nothing, reads no clock.

mod chart;
mod detail;
mod footer;
mod header;
mod help;
mod in_flight;
mod ledger;
mod parts;
mod table;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{Live, Screen, Theme, UiState};

/// Smaller than this, nothing is readable.
const MIN_SIZE: (u16, u16) = (40, 10);
/// The lines that a screen of text leaves to its title and the footer.
const AROUND_TEXT: u16 = 2;

/// Draws the screen.
pub fn render(frame: &mut Frame<'_>, ui: &UiState, live: &Live) {
    let area = frame.area();
    let mut page = Page { buffer: frame.buffer_mut(), area };
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        return too_small(&mut page);
    }
    let live = ui.shown(live);
    match ui.screen {
        Screen::Processes | Screen::Calls => table::draw(&mut page, ui, live),
        Screen::Detail(key) => detail::draw(&mut page, ui, live, key),
        Screen::Help | Screen::Ledger | Screen::InFlight => draw_text(&mut page, ui, live),
    }
    footer::draw(&mut page, ui, live);
}

fn too_small(page: &mut Page<'_>) {
    let (width, height) = MIN_SIZE;
    let text = format!("terminal too small: syscost needs {width}x{height}");
    for (y, line) in wrap(&text, page.area.width.into()).into_iter().enumerate() {
        page.line(y as u16, line.into());
    }
}

fn draw_text(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let lines = text(ui, live, page.area.width);
    match ui.screen {
        Screen::Ledger | Screen::InFlight => header::draw_identity(page, ui, live),
        _ => page.line(0, help::title(&ui.theme)),
    }
    let room = page.area.height.saturating_sub(AROUND_TEXT);
    let first = usize::from(ui.scroll).min(lines.len().saturating_sub(room.into()));
    for (y, line) in lines.into_iter().skip(first).take(room.into()).enumerate() {
        page.line(y as u16 + 1, line);
    }
}

fn text(ui: &UiState, live: &Live, width: u16) -> Vec<Line<'static>> {
    match ui.screen {
        Screen::Help => help::text(&ui.theme, width),
        Screen::Ledger => ledger::text(&ui.theme, live, width),
        Screen::InFlight => in_flight::text(&ui.theme, live, width),
        Screen::Processes | Screen::Calls | Screen::Detail(_) => Vec::new(),
    }
}

/// How far the screen of text that is shown can be scrolled.
pub(super) fn last_scroll(ui: &UiState, live: &Live) -> u16 {
    let lines = text(ui, ui.shown(live), ui.size.0).len();
    let room = usize::from(ui.size.1.saturating_sub(AROUND_TEXT));
    lines.saturating_sub(room).try_into().unwrap_or(u16::MAX)
}

/// The screen while it is drawn. What lies outside it is not drawn.
struct Page<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
}

impl Page<'_> {
    fn line(&mut self, y: u16, line: Line<'_>) {
        self.line_at(0, y, line);
    }

    fn line_at(&mut self, x: u16, y: u16, line: Line<'_>) {
        if x < self.area.width && y < self.area.height {
            let (left, top) = (self.area.x + x, self.area.y + y);
            self.buffer.set_line(left, top, &line, self.area.width - x);
        }
    }

    /// One line to the left and one to the right; the left one gives way.
    fn spread(&mut self, y: u16, left: Line<'_>, right: Line<'_>) {
        self.line(y, left);
        let wide = (right.width() as u16).min(self.area.width);
        self.line_at(self.area.width - wide, y, right);
    }

    fn text_at(&mut self, x: u16, y: u16, text: impl AsRef<str>, style: Style) {
        self.line_at(x, y, Line::from(Span::styled(text.as_ref(), style)));
    }
}

/// Characters, each with its style, as few spans as they allow.
fn spans(cells: impl Iterator<Item = (char, Style)>) -> Vec<Span<'static>> {
    let mut runs: Vec<(String, Style)> = Vec::new();
    for (character, style) in cells {
        match runs.last_mut() {
            Some((run, last)) if *last == style => run.push(character),
            _ => runs.push((character.to_string(), style)),
        }
    }
    runs.into_iter().map(|(run, style)| Span::styled(run, style)).collect()
}

/// `text` in `width` characters, aligned to the right; what is longer loses its end.
fn right(text: &str, width: u16) -> String {
    let width = usize::from(width);
    format!("{:>width$}", clip(text, width))
}

/// `text` in `width` characters, aligned to the left; what is longer loses its end.
fn left(text: &str, width: u16) -> String {
    let width = usize::from(width);
    format!("{:<width$}", clip(text, width))
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        clipped.push('…');
    }
    clipped
}

/// `text` in lines of at most `width` characters, broken between words where possible.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A heading above a part of a screen of text.
fn heading(theme: &Theme, text: &str) -> Line<'static> {
    Line::from(Span::styled(format!(" {text}"), theme.title))
}
