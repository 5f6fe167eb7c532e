//! The measurements, interleaved: every round has every contender once, in turn, right between two
//! untraced batches of its own, so that a noisy moment hits all alike.

use std::io::IsTerminal;

use anyhow::Result;

use crate::{
    contender::{CONTENDERS, Contender},
    options::Options,
    requirement,
    worker::Worker,
};

/// Attaching peers takes seconds, so that they have fewer rounds. What a requirement asks for is in all: on a
/// noisy machine a few rounds tell little.
const PEERS_EVERY: usize = 3;

/// What was measured of one contender.
pub(crate) struct Series {
    pub contender: &'static Contender,
    /// What the contender adds, by round; `None` where it was not measured.
    pub added: Vec<Option<Added>>,
    /// Why there is nothing, or no more.
    pub failed: Option<String>,
}

/// One measurement.
#[derive(Clone, Copy)]
pub(crate) struct Added {
    /// What the contender adds, ns.
    ns: f64,
    /// The same work right before or after with nobody there, ns.
    untraced_ns: f64,
}

impl Added {
    /// In multiples of the untraced work at that moment: the machine is faster at one moment and slower
    /// at another, all of it alike.
    fn relative(self) -> f64 {
        self.ns / self.untraced_ns
    }
}

impl Series {
    pub(crate) fn added(&self) -> Vec<f64> {
        self.added.iter().flatten().map(|added| added.ns).collect()
    }

    pub(crate) fn untraced(&self) -> Vec<f64> {
        self.added.iter().flatten().map(|added| added.untraced_ns).collect()
    }

    /// How many times as much as `other` this adds, by round.
    pub(crate) fn ratios_to(&self, other: &Self) -> Vec<f64> {
        let rounds = self.added.iter().zip(&other.added);
        rounds
            .filter_map(|(this, other)| Some((*this)?.relative() / (*other)?.relative()))
            .collect()
    }
}

pub(crate) fn measure(options: &Options) -> Result<Vec<Series>> {
    let wanted = |contender: &&Contender| {
        options.wants(contender.id) && (options.peers() || contender.peer().is_none())
    };
    let new = |contender: &'static Contender| Series {
        contender,
        added: Vec::new(),
        failed: contender.missing(),
    };
    let mut all: Vec<Series> = CONTENDERS.iter().filter(wanted).map(new).collect();
    let progress = std::io::stderr().is_terminal();
    for round in 0..options.rounds() {
        for series in &mut all {
            let contender = series.contender;
            if progress {
                eprint!("\rround {}/{}: {:<48}", round + 1, options.rounds(), contender.name);
            }
            let due = contender.peer().is_none()
                || requirement::asks_for(contender.id)
                || round % PEERS_EVERY == 0;
            let added = if due { series.measure_once()? } else { None };
            series.added.push(added);
        }
    }
    if progress {
        eprint!("\r{:72}\r", "");
    }
    Ok(all)
}

impl Series {
    /// What the contender adds now; `None` when it failed, now or before.
    fn measure_once(&mut self) -> Result<Option<Added>> {
        if self.failed.is_some() {
            return Ok(None);
        }
        // A new one each time. From its first seconds on a process may come to pay more for whatever is
        // traced, for as long as it lives: those who are measured later would.
        let worker = &mut Worker::start(self.contender.work)?;
        let before = worker.ns(self.contender.work.batch())?;
        let traced = match self.contender.ns(worker) {
            Ok(traced) => traced,
            // A peer may be broken here; that is no reason to know nothing of the others.
            Err(error) if self.contender.peer().is_some() => {
                self.failed = Some(format!("{error:#}"));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let after = worker.ns(self.contender.work.batch())?;
        let untraced_ns = before.min(after);
        Ok(Some(Added { ns: traced - untraced_ns, untraced_ns }))
    }
}
