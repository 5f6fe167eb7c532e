//! `syscost stat`: measures until an end is asked for, and prints.

use std::{
    fs::File,
    future::pending,
    io::{ErrorKind, Write},
    ops::ControlFlow,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep_until};

use super::{
    attach,
    child::Child,
    driver::{Around, At, End, Program, drive},
    find::{Found, find},
    names::DescriptorNames,
    output_file::OutputFile,
    request,
    schedule::Pace,
    signals::{Signals, exit_code},
    watch::notes,
};
use crate::{
    cli::{ColorChoice, Format, StatPlan},
    enrich::{Helper, NotStarted},
    exit, message,
    model::{History, Model, Subject, history::Limits},
    sample::WhyEmpty,
    source::{Event, Source},
    target::command::Stdio,
    view::{
        Order, csv, format, json, missing,
        table::{self, TableOptions},
    },
    writer::Writer,
};

/// `helper`: the one that looks names up, or why there is none, if names are wanted.
pub(super) async fn run(plan: &StatPlan, helper: Option<Result<Helper, NotStarted>>) -> Result<u8> {
    // Before anything is attached, so that a file which cannot be written is an error now and not after an hour.
    let sink = Destination::open(plan)?;
    let Found { target, command } = find(&plan.target, Stdio::Inherit)?;
    let mut signals = Signals::catch()?;
    let request = request(&target, &plan.filter, plan.by, &plan.common);
    let pace = Pace { every: plan.interval, lasting: plan.duration, first: None };
    let mut session = attach(target, &request, plan.budget_pct(), pace.first_window())?;
    // Threads are started only now: a thread inherits the capabilities of the one that starts it.
    message::in_background();
    let mut output = Output::new(plan, sink)?;
    let subject = Subject::new(&session.source.sample()?.subject);
    if let Some(why) = missing::calls(&subject) {
        let waiting = if subject.why_empty == Some(WhyEmpty::NoProcess) { "; waiting" } else { "" };
        message::say(format_args!("{why}{waiting}"));
    }
    let notes: String = notes(&session.source).iter().map(|note| format!("; {note}")).collect();
    let until = if plan.duration.is_none() { "; Ctrl-C ends it" } else { "" };
    message::say(format_args!("attached to {} ({}){notes}{until}", subject.name, subject.detail));
    let mut child = Child::release(command, &mut session.source)?;
    if let Some(Err(why)) = &helper {
        message::say(format_args!("file descriptors have no names: {why}"));
    }
    let mut printer = Printer {
        output: &mut output,
        names: helper.map(DescriptorNames::new).transpose()?,
        merged: 0,
        last: None,
    };
    let around = Around { pace, signals: &mut signals, child: &mut child };
    let ended = drive(session, &mut printer, around).await;
    let printed = printer.print_last().await;
    let ended = ended.and_then(|end| printed.map(|()| end));
    let merged = printer.merged;
    if merged > 0 {
        message::say(format_args!(
            "{merged} intervals are part of later ones: the output was not read fast enough"
        ));
    }
    let signal = match ended {
        Ok(End::Signal(signal)) => Some(signal),
        _ => None,
    };
    // Before waiting for the command, which may take long.
    let written = output.finish(signal, &mut signals).await;
    if let Err(error) = &written {
        message::say(format!("{error:#}"));
    }
    let code = child.wait(&mut signals, false).await;
    if let Err(error) = ended {
        if code == exit::OK {
            return Err(error);
        }
        message::say(format!("{error:#}"));
    }
    Ok(match (written, signal) {
        // A failure that the command reports is never hidden.
        (Err(_), _) if code == exit::OK => exit::TRACING_FAILED,
        (Ok(()), Some(signal)) if !child.is_there() => exit_code(signal),
        _ => code,
    })
}

/// Prints each interval, or everything at the end.
struct Printer<'a> {
    output: &'a mut Output,
    /// The names of file descriptors, if they are wanted.
    names: Option<DescriptorNames>,
    /// How many intervals were not printed, but are part of later ones.
    merged: u64,
    /// The last window, until it is printed.
    last: Option<Model>,
}

impl Printer<'_> {
    /// Prints the last window, if there is one.
    async fn print_last(&mut self) -> Result<()> {
        let Some(mut model) = self.last.take() else { return Ok(()) };
        if let Some(names) = &mut self.names
            && let Some(what) = names.settle(&mut model).await
        {
            message::say(what);
        }
        self.output.print(&model)
    }
}

/// The output cannot be written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failed;

/// What the program waits for.
enum Happened {
    /// The output cannot be written any more.
    Failed,
    /// Names are not looked up any more. What to say.
    NamesEnded(String),
}

impl Program for Printer<'_> {
    type Event = Happened;
    type Next = Failed;

    const STAYS: bool = false;

    /// What was printed is not needed any more.
    const HISTORY: Limits = Limits::LAST;

    async fn event(&mut self) -> Happened {
        let ended = async {
            match &mut self.names {
                Some(names) => names.ended().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.output.writer.failed() => Happened::Failed,
            what = ended => Happened::NamesEnded(what),
        }
    }

    fn on_event(
        &mut self,
        event: Happened,
        _history: &History,
        _child: &mut Child,
    ) -> Result<ControlFlow<Failed>> {
        match event {
            Happened::Failed => return Ok(ControlFlow::Break(Failed)),
            Happened::NamesEnded(what) => message::say(what),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn has_room(&mut self) -> bool {
        let has_room = self.output.has_room();
        self.merged += u64::from(!has_room);
        has_room
    }

    fn on_sample(&mut self, history: &History, at: At) -> Result<()> {
        let mut model = history.last();
        if at == At::End {
            self.last = Some(model);
            return Ok(());
        }
        if let Some(names) = &mut self.names {
            names.fill_in(&mut model);
        }
        self.output.print(&model)
    }

    fn on_events(&mut self, events: Vec<Event>) {
        for Event::Diagnostic(line) in events {
            message::say(line);
        }
    }
}

/// Where the numbers go.
enum Destination {
    Stdout(File),
    File(OutputFile),
}

impl Destination {
    fn open(plan: &StatPlan) -> Result<Self> {
        match &plan.output {
            Some(path) => Ok(Self::File(OutputFile::open(path)?)),
            None => Ok(Self::Stdout(message::stdout_file().context("cannot use stdout")?)),
        }
    }
}

/// If more than this waits for a slow reader, bytes, intervals are merged.
const ROOM: usize = 256 * 1024;

/// How long to wait, after a signal, for a reader that reads nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same after a second signal. Writing to a file, or to a reader that reads, takes less.
const LITTLE_PATIENCE: Duration = Duration::from_millis(200);

/// Writes the numbers in the form that was asked for.
struct Output {
    format: Format,
    options: TableOptions,
    writer: Writer,
    printed: bool,
}

impl Output {
    fn new(plan: &StatPlan, destination: Destination) -> Result<Self> {
        let order = Order { sort: plan.sort, reversed: plan.reverse, top: plan.top };
        let width = if plan.output.is_none() { terminal_width() } else { None };
        let terminal = plan.output.is_none() && message::stdout_is_terminal();
        let color = terminal && plan.common.color == ColorChoice::Auto;
        // Programs that read JSON and CSV expect UTF-8 in any locale.
        let options = TableOptions { order, width, color, ascii: plan.common.ascii };
        let writer = match destination {
            Destination::Stdout(file) => Writer::start(file),
            Destination::File(file) => Writer::start(file),
        };
        let writer = writer.context("cannot start a thread")?;
        Ok(Self { format: plan.format, options, writer, printed: false })
    }

    /// Whether the reader is fast enough.
    fn has_room(&self) -> bool {
        self.writer.pending() <= ROOM
    }

    /// Hands `model` to the writer. Waits for nothing.
    fn print(&mut self, model: &Model) -> Result<()> {
        let mut text = Vec::new();
        let (out, order) = (&mut text, &self.options.order);
        match self.format {
            Format::Table if self.printed => {
                writeln!(out).and_then(|()| table::write(&mut *out, model, &self.options))
            }
            Format::Table => table::write(&mut *out, model, &self.options),
            Format::Json => json::write(&mut *out, model, order),
            Format::Csv => csv::write(&mut *out, model, order, !self.printed),
        }
        .context("cannot write the output")?;
        self.writer.push(text);
        self.printed = true;
        Ok(())
    }

    /// Waits until everything is written. After a signal, it waits only as long as the reader reads something.
    /// `ended_by`: the signal that ended the measurement.
    async fn finish(&self, ended_by: Option<Signal>, signals: &mut Signals) -> Result<()> {
        let mut patience = ended_by.map(|_| PATIENCE);
        let (mut pending, mut since) = (usize::MAX, Instant::now());
        while !self.writer.has_failed() && self.writer.pending() > 0 {
            if self.writer.pending() != pending {
                (pending, since) = (self.writer.pending(), Instant::now());
            }
            let give_up = patience.map(|patience| since + patience);
            if give_up.is_some_and(|give_up| give_up <= Instant::now()) {
                return Err(unread(pending));
            }
            tokio::select! {
                () = self.writer.idle() => {}
                _ = signals.next() => patience = Some(LITTLE_PATIENCE),
                () = sleep_until(give_up.unwrap_or(Instant::now() + PATIENCE)) => {}
            }
        }
        match self.writer.error() {
            // A reader such as `head` may stop reading; that is not a failure.
            Some(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Some(error) => Err(error).context("cannot write the output"),
            None => Ok(()),
        }
    }
}

fn unread(bytes: usize) -> anyhow::Error {
    anyhow!("the output is not being read: its last {} bytes are lost", format::full(bytes as u64))
}

/// The width of the terminal that stdout is; `None` when it is a pipe or a file.
fn terminal_width() -> Option<usize> {
    // SAFETY: plain integers, for which zeroes are valid.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one winsize to the place given.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(size.ws_col.into())
}
