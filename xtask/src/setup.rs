//! Installs what building the kernel programs takes. Debian only. Does nothing where everything is installed.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::{
    sh::{self, Privilege},
    toolchain::{self, LINKER_VERSION, LLVM_MAJOR, Toolchain},
};

/// A compiler with a prebuilt `core` for BPF, the LLVM of the linker, and strace, which tests use.
const PACKAGES: [&str; 4] = ["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "strace"];

/// The tools the benchmark compares syscost with.
const BENCH_PACKAGES: [&str; 3] = ["bpftrace", "libbpf-tools", "linux-perf"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Add the tools that the benchmark compares with
    #[arg(long)]
    bench: bool,
}

/// Installs what is missing.
pub(crate) fn run(&Args { bench }: &Args) -> Result<ExitCode> {
    if sh::which("apt-get").is_none() {
        return without_apt();
    }
    let mut wanted = PACKAGES.to_vec();
    if bench {
        wanted.extend(BENCH_PACKAGES);
    }
    if sh::which("cc").is_none() {
        wanted.extend(["gcc", "libc6-dev"]);
    }
    wanted.retain(|package| !is_installed(package));
    if !wanted.is_empty() {
        install_packages(&wanted)?;
    }
    install_linker()?;
    let toolchain = Toolchain::find()?;
    println!("ready: {}", toolchain.versions);
    Ok(ExitCode::SUCCESS)
}

fn without_apt() -> Result<ExitCode> {
    // Any machine may have the other toolchain. If it has not, the error says what is missing.
    let toolchain = Toolchain::find()?;
    println!("no apt-get here, so nothing was installed; ready: {}", toolchain.versions);
    Ok(ExitCode::SUCCESS)
}

fn is_installed(package: &str) -> bool {
    sh::ask("dpkg-query", &["-W", "-f=${db:Status-Status}", package])
        .is_some_and(|status| status == "installed")
}

fn install_packages(packages: &[&str]) -> Result<()> {
    let privilege = sh::privilege();
    if privilege == Privilege::None {
        bail!("needs root to install {}: run it as root or with sudo at hand", packages.join(" "));
    }
    let apt = |args: &[&str]| {
        let mut apt = sh::as_root(privilege, "env");
        apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).args(args);
        apt
    };
    // Mirrors fail for moments, so that one failure is not final.
    if sh::run(&mut apt(&["update"])).is_err() {
        sh::run(&mut apt(&["update"]))?;
    }
    // --no-remove: rustc-web conflicts with Debian's other rustc, which may be in use.
    let install = ["install", "-y", "--no-remove", "--no-install-recommends"];
    sh::run(&mut apt(&[&install, packages].concat()))
}

fn install_linker() -> Result<()> {
    let present = toolchain::linker().and_then(|linker| toolchain::linker_version(&linker));
    if present.as_deref() == Some(LINKER_VERSION) {
        return Ok(());
    }
    let Some(prefix) = sh::ask(format!("llvm-config-{LLVM_MAJOR}"), &["--prefix"]) else {
        bail!("llvm-config-{LLVM_MAJOR} does not run: reinstall llvm-{LLVM_MAJOR}-dev");
    };
    let mut cargo: Command = sh::cargo();
    cargo.env("LLVM_PREFIX", prefix);
    cargo.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features", &format!("llvm-{LLVM_MAJOR}")]);
    sh::run(&mut cargo)
}
