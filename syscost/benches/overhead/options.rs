//! What the command line asks for.

use clap::{Parser, builder::PossibleValuesParser};

use crate::{contender, daemon, instructions};

/// Measures what tracing costs, against floors and peers. Needs root.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench", disable_version_flag = true)]
pub(crate) struct Options {
    /// A third of the rounds
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// How often everything is measured; some peers are in every third round
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Leave out what needs something installed
    #[arg(long)]
    no_peers: bool,
    /// Measure these only
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(contender::ids().chain([daemon::ID, instructions::ATTACH])))]
    only: Vec<String>,
    /// Count instructions; right only where the processor's clock counts them
    #[arg(long, hide = true)]
    pub(crate) instructions: bool,
    /// What cargo adds to tell a benchmark from a test
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        match self.rounds {
            Some(rounds) => rounds as usize,
            None if self.quick => 7,
            None => 21,
        }
    }

    /// How often the program is started to see how long it takes.
    pub(crate) fn starts(&self) -> usize {
        if self.quick { 5 } else { 11 }
    }

    pub(crate) fn peers(&self) -> bool {
        !self.no_peers
    }

    pub(crate) fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }
}
