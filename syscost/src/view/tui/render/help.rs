//! The help screen: the keymap, the columns, and how to read the numbers.

use ratatui::text::{Line, Span};

use super::{heading, left, wrap};
use crate::{
    model::column::COLUMNS,
    view::tui::{
        Theme,
        keymap::{BINDINGS, Binding},
    },
};

/// How far apart the two columns of keys are.
const KEYS_WIDTH: u16 = 39;
const LABEL_WIDTH: u16 = 10;
/// On a screen that is narrower, a text beside its term would have no room.
const NARROW: u16 = 36;

/// What numbers and marks mean, beyond the columns.
static READING: &[(&str, &str)] = &[
    (
        "EXACT",
        "every call that was entered is accounted for: finished and in its row, still in flight, or \
         ended with its thread",
    ),
    (
        "INEXACT",
        "something was missed, and the header says what. A loss is never made good, so this stays. Numbers \
         with >= are lower bounds. The ledger has the whole account",
    ),
    ("–", "nothing was collected; 0 always means zero"),
    (
        "≈",
        "an estimate, too high or too low: calls were sampled, or an end was guessed. After a loss, also means, \
         shares, percentiles and minima. The boundary always has it",
    ),
    (
        "SHED",
        "detail that is not collected for now, to cost less. Without the run-queue split, that time \
         counts as blocked",
    ),
    (
        "latency",
        "from entering the kernel to leaving it: on the CPU + in the run queue + blocked, to the \
         nanosecond",
    ),
    (
        "on CPU",
        "the thread ran: the call's own work, page faults and interrupts meanwhile, and the probes. \
         What costs CPU time costs it here",
    ),
    (
        "run queue",
        "the thread could run, but waited for a CPU: all were busy, or a CPU limit was reached. It is \
         not the call's doing",
    ),
    (
        "blocked",
        "the thread waited for something else: data, a lock, a timer, a disk. It costs no CPU time; \
         a server that waits for work is blocked nearly always",
    ),
    (
        "boundary",
        "what crossing into the kernel and back costs by itself: calls times what a call that does \
         nothing takes here, if `syscost calibrate` has measured it since the last boot. An estimate \
         beside the latencies, not a part of them: most of it lies before and after what latency \
         measures. Caches that the kernel displaces are not in it",
    ),
    ("in flight", "entered and not finished: a call is counted when it returns"),
    (
        "▁▃█▂ ·",
        "how long a row's calls were on the CPU (the colour of the heading CPU ms/s; without colours, \
         bold) and off it (that of BLOCKED%; dim), from short to long on the time axis above. A call \
         that waited is in both. A column has the colour of most of its calls; all rows share the \
         axis, each has its own height. A dot is a few calls, too few for a bar",
    ),
    (
        "█ ▒ █",
        "on a syscall's screen: the same, its parts stacked. A call counts in each part that it has \
         any of, where it lies by how long that part was. The marks below the axis are of latency",
    ),
    (
        "newborn",
        "in the ledger: an exit in a new thread or process. fork, vfork and clone are entered once and return twice. \
         No call, and no loss",
    ),
    (
        "orphan",
        "in the ledger: an exit without an enter, of a call that seccomp or a tracer refused. No call, and no loss",
    ),
    ("dim rows", "no call finished in the window"),
    (
        "P50 …",
        "percentiles of latency are at most 6 % too high, those of its parts 25 %, and never too low; \
         MEAN, and MIN and MAX of latency since start, are exact",
    ),
];

/// The line above the text.
pub(super) fn title(theme: &Theme) -> Line<'static> {
    Line::from(vec![Span::styled(" syscost  ", theme.dim), Span::styled("help", theme.title)])
}

/// The whole text in lines of `width`.
pub(super) fn text(theme: &Theme, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![heading(theme, "KEYS")];
    lines.extend(keys(theme, width));
    lines.push(Line::default());
    lines.push(heading(theme, "COLUMNS"));
    for column in COLUMNS {
        lines.extend(entry(theme, column.title, column.help, width));
    }
    lines.push(Line::default());
    lines.push(heading(theme, "READING"));
    for (term, meaning) in READING {
        lines.extend(entry(theme, term, meaning, width));
    }
    lines
}

/// The keymap: in columns where they fit, read downwards.
fn keys(theme: &Theme, width: u16) -> Vec<Line<'static>> {
    if width < KEYS_WIDTH {
        let entry =
            |binding: &Binding| entry(theme, &binding.labels().join(" "), binding.help, width);
        return BINDINGS.iter().flat_map(entry).collect();
    }
    let cells: Vec<[Span<'static>; 2]> = BINDINGS
        .iter()
        .map(|binding| {
            let label = format!("  {}", left(&binding.labels().join(" "), LABEL_WIDTH));
            let help = left(binding.help, KEYS_WIDTH - LABEL_WIDTH - 2);
            [Span::styled(label, theme.active), Span::raw(help)]
        })
        .collect();
    let columns = usize::from(width / KEYS_WIDTH).clamp(1, 3);
    let height = cells.len().div_ceil(columns);
    (0..height)
        .map(|row| {
            let spans = cells.iter().skip(row).step_by(height).flatten().cloned();
            Line::from_iter(spans)
        })
        .collect()
}

/// A term and its meaning, wrapped beside it; below it where the screen is narrow.
fn entry(theme: &Theme, term: &str, meaning: &str, width: u16) -> Vec<Line<'static>> {
    if width < NARROW {
        let term = Line::from(Span::styled(format!(" {term}"), theme.active));
        let meaning = wrap(meaning, usize::from(width).saturating_sub(3));
        let meaning = meaning.into_iter().map(|text| Line::from(format!("  {text}")));
        return std::iter::once(term).chain(meaning).collect();
    }
    let indent = LABEL_WIDTH + 2;
    let room = width.saturating_sub(indent + 1);
    wrap(meaning, room.into())
        .into_iter()
        .enumerate()
        .map(|(index, text)| {
            let term = left(if index == 0 { term } else { "" }, LABEL_WIDTH);
            Line::from(vec![Span::styled(format!("  {term}"), theme.active), Span::raw(text)])
        })
        .collect()
}
