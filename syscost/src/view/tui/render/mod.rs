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

use crate::view::width::{Columns, aligned_left, aligned_right};
pub(super) use header::height as header_height;
use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{Live, Screen, Theme, UiState};
use crate::view::ascii;

/// Smaller than this, nothing is readable.
const MIN_SIZE: (u16, u16) = (20, 5);
/// The lines that a screen of text leaves to its title and the footer.
const AROUND_TEXT: u16 = 2;

/// Draws the screen.
pub fn render(frame: &mut Frame<'_>, ui: &UiState, live: &Live) {
    let area = frame.area();
    // The last line is the footer's.
    let below = area.height.saturating_sub(1);
    let mut page = Page { buffer: frame.buffer_mut(), area, below };
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        return too_small(&mut page);
    }
    draw(&mut page, ui, live);
    if ui.theme.ascii {
        in_ascii(page.buffer);
    }
}

/// The names with escapes, before they are laid out: escapes are longer than what they stand for.
fn in_ascii_names(live: &Live) -> Live {
    Live {
        interval: ascii::names(&live.interval),
        since_attach: ascii::names(&live.since_attach),
        notes: live.notes.clone(),
    }
}

/// Puts ASCII characters in the place of all others. At the end, for it moves nothing.
fn in_ascii(buffer: &mut Buffer) {
    for cell in buffer.content.iter_mut().filter(|cell| !cell.symbol().is_ascii()) {
        let character = cell.symbol().chars().next().map_or(' ', ascii::ascii);
        cell.set_char(character);
    }
}

fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let live = ui.shown(live);
    let escaped = ui.theme.ascii.then(|| in_ascii_names(live));
    let live = escaped.as_ref().unwrap_or(live);
    match ui.screen {
        Screen::Processes | Screen::Calls => table::draw(page, ui, live),
        Screen::Detail(key) => detail::draw(page, ui, live, key),
        Screen::Help | Screen::Ledger | Screen::InFlight => draw_text(page, ui, live),
    }
    page.below = page.area.height;
    footer::draw(page, ui, live);
}

fn too_small(page: &mut Page<'_>) {
    let (width, height) = MIN_SIZE;
    let (room, lines) = (usize::from(page.area.width), usize::from(page.area.height));
    page.below = page.area.height;
    // The longest that fits: what is wrong, then what it takes.
    let text = ["terminal too small: syscost needs ", "too small: needs ", "needs ", ""]
        .map(|what| wrap(&format!("{what}{width}x{height}"), room))
        .into_iter()
        .find(|text| text.len() <= lines && text.iter().all(|line| line.columns() <= room));
    for (y, line) in text.into_iter().flatten().enumerate() {
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
    /// The first line that is not to be drawn on.
    below: u16,
}

impl Page<'_> {
    fn line(&mut self, y: u16, line: Line<'_>) {
        self.line_at(0, y, line);
    }

    fn line_at(&mut self, x: u16, y: u16, line: Line<'_>) {
        if x < self.area.width && y < self.below {
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

/// `text` in `width` columns, aligned to the right; what is longer loses its end.
fn right(text: &str, width: u16) -> String {
    let width = usize::from(width);
    aligned_right(&clip(text, width), width)
}

/// A number in `width` columns, aligned to the right, with a blank or a mark before it. Where it
/// does not fit, only `…` is drawn: a part of a number is a wrong number.
fn number(text: &str, width: u16) -> String {
    let mark = usize::from(text.starts_with(['≈', '>']));
    let fits = text.columns() < usize::from(width) + mark;
    right(if fits { text } else { "…" }, width)
}

/// `text` in `width` columns, aligned to the left; what is longer loses its end.
fn left(text: &str, width: u16) -> String {
    let width = usize::from(width);
    aligned_left(&clip(text, width), width)
}

fn clip(text: &str, width: usize) -> String {
    if text.columns() <= width {
        return text.to_owned();
    }
    let mut clipped = text.beginning(width.saturating_sub(1)).to_owned();
    if width > 0 {
        clipped.push('…');
    }
    clipped
}

/// As many whole words of `text` as fit into `width` characters, and `…` where there are more.
fn clip_words(text: &str, width: usize) -> String {
    if text.columns() <= width {
        return text.to_owned();
    }
    let mut clipped = String::new();
    for word in text.split_whitespace() {
        if clipped.columns() + word.columns() + 3 > width {
            break;
        }
        clipped.push_str(word);
        clipped.push(' ');
    }
    // Without a comma or a dot that would stand before it.
    let words = clipped.trim_end().trim_end_matches([',', '·', ':', ';']);
    match words.trim_end() {
        "" => clip(text.split_whitespace().next().unwrap_or_default(), width.min(1)),
        words => format!("{words} …"),
    }
}

/// `text` in lines of at most `width` characters, broken between words where possible.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.columns() + 1 + word.columns() <= width {
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
