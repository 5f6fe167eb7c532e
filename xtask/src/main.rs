//! The developer commands: `cargo xtask COMMAND`. Reads the arguments and calls the command's module.

mod bench;
mod ci;
mod ebpf;
mod instructions;
mod kernels;
mod run;
mod runner;
mod setup;
mod sh;
mod sources;
mod test;
mod toolchain;
mod walls;

use std::{env, process::ExitCode};

use clap::{Parser, Subcommand};

/// Every developer command of syscost
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    max_term_width = 100,
    disable_version_flag = true,
    after_help = "Only the kernel programs need more than stable Rust and a C linker, and only to \
                  change them."
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build syscost and start it as root; without ARGS, on a demo process
    Run(run::Args),
    /// Run the tests; the ones against the live kernel need root
    Test(test::Args),
    /// Run the kernel tests on other kernels, emulated (Debian)
    Kernels(kernels::Args),
    /// Measure what tracing costs the traced program (needs root)
    Bench(bench::Args),
    /// Install what building the kernel programs takes (Debian)
    Setup(setup::Args),
    /// Compile the kernel programs into syscost/ebpf
    BuildEbpf(ebpf::Args),
    /// Check formatting, lints, docs, walls, and that the committed objects fit their sources
    Ci,
    /// Check which module uses which
    Walls,
    #[command(name = runner::COMMAND, hide = true)]
    RunAsRoot(runner::Args),
}

fn main() -> ExitCode {
    if env::var_os(toolchain::SHIM).is_some() {
        return toolchain::compile_as_rustc();
    }
    let result = match Args::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Kernels(args) => kernels::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::BuildEbpf(args) => ebpf::run(&args),
        Command::Ci => ci::run(),
        Command::Walls => walls::run(),
        Command::RunAsRoot(args) => runner::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_declared_without_contradictions() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Args, clap::error::ErrorKind> {
        let words = ["cargo xtask"].into_iter().chain(line.split_whitespace());
        Args::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        use clap::error::ErrorKind::*;
        assert_eq!(parse("test --kernel --no-kernel").err(), Some(ArgumentConflict));
        assert_eq!(parse("test --fast").err(), Some(UnknownArgument));
        assert_eq!(parse("kernels --kernel 4.4").err(), Some(InvalidValue));
        assert_eq!(parse("run --json").err(), Some(UnknownArgument));
        assert!(parse("run -- --json").is_ok());
        assert!(parse("bench --quick --only floor").is_ok());
        assert!(parse("bench --instructions --accept --only floor").is_ok());
        assert_eq!(parse("bench --accept").err(), Some(MissingRequiredArgument));
        assert!(parse("run-as-root program --test-threads=1").is_ok());
    }
}
