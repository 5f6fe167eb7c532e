//! The developer commands: `cargo xtask COMMAND`. Dispatch only.

mod bench;
mod ci;
mod ebpf;
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

const USAGE: &str = "\
usage: cargo xtask COMMAND

  run [-- ARGS]          build syscost and start it as root; without ARGS, on a demo process
  test [--kernel | --no-kernel] [--list] [FILTER]
                         every test; those against the live kernel need root;
                         --list prints their names and runs none
  kernels [--kernel LABEL] [--accept] [FILTER]
                         the kernel tests on other kernels, emulated (Debian);
                         --accept records how much work the verifier had
  bench [--quick | --rounds N] [--no-peers] [--only NAME,...]
                         measure what tracing costs the traced program (needs root)
  setup [--bench]        install what building the kernel programs takes (Debian);
                         --bench adds the tools the benchmark compares with
  build-ebpf [--check]   compile the kernel programs into syscost/ebpf;
                         --check compares a fresh build with the committed objects
  ci                     formatting, lints, docs, walls, stale objects
  walls                  who may import what
  help                   this text

Only the kernel programs need more than stable Rust and a C linker, and only to change them.
";

fn main() -> ExitCode {
    if env::var_os(toolchain::SHIM).is_some() {
        return toolchain::compile_as_rustc();
    }
    let args: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", args.as_slice()),
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let result = match (command, rest.as_slice()) {
        ("run", args) => run::run(args),
        ("test", args) => test::run(args),
        ("kernels", args) => kernels::run(args),
        ("bench", args) => bench::run(args),
        ("setup", []) => setup::run(false),
        ("setup", ["--bench"]) => setup::run(true),
        ("build-ebpf", []) => ebpf::build(),
        ("build-ebpf", ["--check"]) => ebpf::check(),
        ("ci", []) => ci::run(),
        ("walls", []) => walls::run(),
        (runner::COMMAND, args) => runner::run(args),
        ("help" | "--help" | "-h", _) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            if !command.is_empty() {
                eprintln!("xtask: cannot understand `{}`\n", args.join(" "));
            }
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
