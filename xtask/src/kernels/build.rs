//! The kernel tests or the benchmark, and syscost, linked statically for a machine that has no libraries.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{arch::Arch, packages};
use crate::{
    sh::{self, Executable},
    toolchain::DEBIAN_RUSTC,
};

/// The programs that run inside a machine.
pub(crate) struct Programs {
    /// The tests, or the benchmark.
    pub(crate) first: PathBuf,
    /// The programs that it starts, by the absolute paths that it knows.
    pub(crate) others: Vec<PathBuf>,
}

/// Builds a target of syscost for `arch`, and the programs that it starts; what a foreign processor takes is unpacked
/// below `folder`. `target` and `profile`: as cargo takes them.
pub(crate) fn build(
    arch: Arch,
    folder: &Path,
    target: [&str; 2],
    profile: &str,
) -> Result<Programs> {
    let mut cargo = sh::cargo();
    let mut rustflags = "-Ctarget-feature=+crt-static".to_owned();
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let variable = |name: &str| {
        format!("CARGO_TARGET_{}_{name}", arch.target().to_uppercase().replace('-', "_"))
    };
    if arch == Arch::Arm64 {
        let cross = packages::cross(folder, arch)?;
        cargo.env("RUSTC", DEBIAN_RUSTC).env(variable("LINKER"), linker(folder, &cross)?);
        rustflags += &format!(" --sysroot={}", cross.rust.join("usr").display());
    }
    cargo.env(variable("RUSTFLAGS"), rustflags);
    let place = sh::target_dir()?.join("static");
    cargo.args(["test", "--no-run", "--profile", profile, "--target", arch.target()]);
    cargo.arg("--target-dir");
    cargo.arg(&place).args(["--package", "syscost", "--features", "kernel-tests"]);
    cargo.args(target).args(["--message-format", "json-render-diagnostics"]);
    let (first, others): (Vec<_>, Vec<_>) =
        sh::executables(&mut cargo)?.into_iter().partition(|executable| executable.is_test);
    let paths = |all: Vec<Executable>| all.into_iter().map(|executable| executable.path).collect();
    let (first, others): (Vec<_>, _) = (paths(first), paths(others));
    let [first] = first.try_into().ok().context("cargo built none of it, or several")?;
    Ok(Programs { first, others })
}

/// Writes a script that calls the unpacked compiler with the places of its parts. By itself, it would look for them
/// in the folders that it is installed in.
fn linker(folder: &Path, cross: &packages::Cross) -> Result<PathBuf> {
    let Some(root) = &cross.gcc else {
        return Ok(PathBuf::from(packages::CROSS_GCC));
    };
    let usr = root.join("usr");
    let gcc = usr.join("bin").join(packages::CROSS_GCC);
    let parts = packages::folder_in(&usr.join("lib/gcc-cross/aarch64-linux-gnu"))?;
    let script = folder.join("arm64-cc");
    let (usr, gcc, parts) = (usr.display(), gcc.display(), parts.display());
    let text = format!(
        "#!/bin/sh\nexport LD_LIBRARY_PATH='{usr}/lib/x86_64-linux-gnu'\nexec '{gcc}' \
         '-B{usr}/aarch64-linux-gnu/lib' '-B{parts}' '-L{usr}/aarch64-linux-gnu/lib' \"$@\"\n"
    );
    fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    // Checked here, because cargo reports a compiler that does not start with a very long message.
    sh::capture(Command::new(&script).arg("--version")).context("the unpacked gcc is broken")?;
    Ok(script)
}
