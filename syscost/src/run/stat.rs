//! `syscost stat`: measures until it is told to stop, and prints.

use std::{
    io::{self, BufWriter, ErrorKind, Write, stdout},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::{
    KEEP_UP, attach,
    child::Child,
    find::{Found, find},
    keeper::Keeper,
    output_file, request,
    signals::Signals,
};
use crate::{
    cli::{Format, StatPlan},
    decode::printable::printable,
    model::Model,
    sample::Sample,
    source::Source,
    target::command::Stdio,
    view::{
        Order, csv, json,
        table::{self, TableOptions},
    },
};

pub(super) async fn run(plan: &StatPlan) -> Result<u8> {
    // Before anything is attached: nobody wants to learn after an hour that it was for nothing.
    let mut output = Output::open(plan)?;
    let Found { target, command } = find(&plan.target, Stdio::Inherit)?;
    let mut signals = Signals::catch()?;
    let request = request(&target, &plan.filter, plan.by, &plan.common);
    let (mut source, keeper) = attach(target, &request, plan.budget_pct())?;
    let subject = source.sample()?.subject;
    let until = if plan.duration.is_none() { "; Ctrl-C ends it" } else { "" };
    let (name, detail) = (printable(&subject.name), printable(&subject.detail));
    eprintln!("syscost: attached to {name} ({detail}){until}");
    let mut child = Child::release(command)?;
    let printed = measure(plan, source, keeper, &mut signals, &mut child, &mut output).await;
    let code = child.wait(&mut signals).await;
    match printed {
        // `| head` has seen enough; that is not a failure.
        Err(error) if is_closed_pipe(&error) => Ok(code),
        Err(error) => Err(error),
        Ok(()) => Ok(code),
    }
}

async fn measure(
    plan: &StatPlan,
    mut source: impl Source,
    mut keeper: Option<Keeper>,
    signals: &mut Signals,
    child: &mut Child,
    output: &mut Output<'_>,
) -> Result<()> {
    let begin = Instant::now();
    let end = plan.duration.map(|duration| begin + duration);
    let every = plan.interval.unwrap_or(Duration::MAX).min(KEEP_UP);
    let mut tick = interval_at(begin + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_print = plan.interval.map(|interval| begin + interval);
    let mut printed: Option<Sample> = None;
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => if !child.takes(signal) {
                break;
            },
            () = source.exit() => break,
            () = sleep_until(end.unwrap_or(begin)), if end.is_some() => break,
            now = tick.tick() => {
                if let Some(keeper) = &mut keeper {
                    keeper.keep(&mut source).await?;
                }
                let sample = source.sample()?;
                tell(source.diagnostics());
                if let (Some(at), Some(interval)) = (next_print, plan.interval)
                    && now >= at
                    // The last interval is printed at the end.
                    && end.is_none_or(|end| now + interval / 2 < end)
                {
                    output.print(&window(&sample, printed.as_ref()))?;
                    printed = Some(sample);
                    // Should printing have taken longer than an interval, the next one is
                    // longer instead of there being several at once.
                    next_print = Some((at + interval).max(Instant::now()));
                }
            }
        }
    }
    let last = source.finish()?;
    tell(source.diagnostics());
    output.print(&window(&last, printed.as_ref()))
}

fn tell(diagnostics: Vec<String>) {
    for line in diagnostics {
        eprintln!("syscost: {line}");
    }
}

fn window(sample: &Sample, printed: Option<&Sample>) -> Model {
    match printed {
        Some(previous) => Model::interval(sample, previous),
        None => Model::since_attach(sample),
    }
}

/// Where the numbers go, and in which form.
struct Output<'a> {
    plan: &'a StatPlan,
    options: TableOptions,
    sink: BufWriter<Box<dyn Write>>,
    printed: bool,
}

impl<'a> Output<'a> {
    fn open(plan: &'a StatPlan) -> Result<Self> {
        let sink: Box<dyn Write> = match &plan.output {
            Some(path) => Box::new(output_file::create(path)?),
            None => Box::new(stdout()),
        };
        let order = Order { sort: plan.sort, reversed: plan.reverse, top: plan.top };
        let width = if plan.output.is_none() { terminal_width() } else { None };
        let options = TableOptions { order, width };
        Ok(Self { plan, options, sink: BufWriter::new(sink), printed: false })
    }

    fn print(&mut self, model: &Model) -> Result<()> {
        let (out, order) = (&mut self.sink, &self.options.order);
        match self.plan.format {
            Format::Table if self.printed => {
                writeln!(out).and_then(|()| table::write(&mut *out, model, &self.options))
            }
            Format::Table => table::write(&mut *out, model, &self.options),
            Format::Json => json::write(&mut *out, model, order),
            Format::Csv => csv::write(&mut *out, model, order, !self.printed),
        }
        .and_then(|()| out.flush())
        .context("cannot write the output")?;
        self.printed = true;
        Ok(())
    }
}

/// The width of the terminal that stdout is; `None` when it is a pipe or a file.
fn terminal_width() -> Option<usize> {
    // SAFETY: plain integers, for which zeroes are valid.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one winsize to the place given.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(size.ws_col.into())
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    })
}
