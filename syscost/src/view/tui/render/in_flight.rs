//! The screen of the calls that are open now: what each thread is in, and for how long.

use ratatui::text::{Line, Span};

use super::{left, right, wrap};
use crate::{
    decode::printable::printable,
    model::InFlight,
    view::{
        format,
        tui::{Live, Theme},
    },
};

const AGE_WIDTH: u16 = 10;
const TID_WIDTH: u16 = 8;
const NAME_WIDTH: u16 = 18;

/// The whole text in lines of `width`.
pub(super) fn text(theme: &Theme, live: &Live, width: u16) -> Vec<Line<'static>> {
    let say = |text: &str| {
        wrap(text, usize::from(width).saturating_sub(2).max(10))
            .into_iter()
            .map(|line| Line::from(format!(" {line}")))
            .collect()
    };
    let Some(calls) = &live.since_attach.in_flight else {
        return say(if live.since_attach.subject.exited {
            "The process has exited: no call is open."
        } else {
            "The open calls cannot be listed here: that takes kernel BTF and Linux 5.15. The \
             ledger has their number."
        });
    };
    if calls.is_empty() {
        return say("No call is open.");
    }
    let mut lines = vec![Line::from(Span::styled(
        format!(
            " {} {}   {} STATE    ARGUMENTS",
            right("AGE", AGE_WIDTH),
            right("TID", TID_WIDTH),
            left("SYSCALL", NAME_WIDTH)
        ),
        theme.title,
    ))];
    lines.extend(calls.iter().map(|call| draw(theme, live, call)));
    lines
}

fn draw(theme: &Theme, live: &Live, call: &InFlight) -> Line<'static> {
    let state = if call.waiting { "waits  " } else { "running" };
    let args: Vec<String> = call.args.iter().map(|arg| format::hex(*arg)).collect();
    Line::from(vec![
        Span::raw(format!(
            " {} {}   ",
            right(&format::reading(call.age_ns, format::ns), AGE_WIDTH),
            right(&call.thread.tid.to_string(), TID_WIDTH)
        )),
        Span::styled(left(&call.title(), NAME_WIDTH), theme.title),
        Span::raw(format!(" {state}  ")),
        Span::styled(args.join(" "), theme.dim),
        Span::styled(process(live, call), theme.dim),
    ])
}

/// Whose thread it is, where the header does not say so.
fn process(live: &Live, call: &InFlight) -> String {
    let thread = &call.thread;
    match live.since_attach.subject.pid {
        Some(_) => String::new(),
        None => format!("   {} (pid {})", printable(&thread.comm), thread.pid),
    }
}
