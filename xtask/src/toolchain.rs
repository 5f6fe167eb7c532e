//! The compilers that can make the kernel programs, in order of preference.
//!
//! 1. Debian's `rustc-web`: it has a prebuilt `core` for BPF. The committed objects come from it.
//! 2. A nightly with `rust-src`, which builds `core` itself. The result works as well but is not
//!    the same byte for byte: another compiler, another standard library.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::sh;

/// The target every object is built for.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The linker's version that setup installs and the committed objects are linked by.
pub(crate) const LINKER_VERSION: &str = "0.13.0";

/// LLVM's major version, which Debian's compiler and the linker share.
pub(crate) const LLVM_MAJOR: &str = "22";

/// Debian's compiler. The compilers of rustup are in other folders.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The environment variable of builds that call xtask in place of rustc.
pub(crate) const SHIM: &str = "SYSCOST_XTASK_AS_RUSTC";

/// What turns the kernel sources into objects.
pub(crate) struct Toolchain {
    nightly: bool,
    linker: PathBuf,
    strip: PathBuf,
    /// The versions of the tools, on which the bytes of the objects depend, as text.
    pub(crate) versions: String,
}

impl Toolchain {
    /// Whether the same sources give the committed bytes.
    pub(crate) fn reproduces(&self) -> bool {
        !self.nightly
    }

    /// Finds the first toolchain that is complete.
    ///
    /// # Errors
    /// When none is; the message says what each of them lacks.
    pub(crate) fn find() -> Result<Toolchain> {
        let debian = match Self::debian() {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        let nightly = match Self::nightly() {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        bail!(
            "no compiler for the kernel programs (using syscost and running its tests need none)\n\
             \x20 Debian's packages: {debian:#}\n\
             \x20   try `cargo xtask setup`\n\
             \x20 a nightly: {nightly:#}\n\
             \x20   try `rustup toolchain install nightly --component rust-src,llvm-tools` \
             and `cargo install bpf-linker`"
        );
    }

    fn debian() -> Result<Toolchain> {
        if !debian_rustc_has_bpf() {
            bail!("{DEBIAN_RUSTC} with a `core` for {TARGET} is missing");
        }
        let linker = linker().context("bpf-linker is missing")?;
        let version = linker_version(&linker).context("bpf-linker does not tell its version")?;
        if version != LINKER_VERSION {
            bail!("bpf-linker is {version}, not {LINKER_VERSION}");
        }
        let strip = sh::which(&format!("llvm-strip-{LLVM_MAJOR}"))
            .with_context(|| format!("llvm-strip-{LLVM_MAJOR} is missing"))?;
        let verbose = sh::ask(DEBIAN_RUSTC, &["-vV"]).context("rustc does not run")?;
        let (rustc, rustc_llvm) = rustc_versions(&verbose);
        let linker_llvm = sh::ask(format!("llvm-config-{LLVM_MAJOR}"), &["--version"])
            .with_context(|| format!("llvm-config-{LLVM_MAJOR} is missing"))?;
        if rustc_llvm != linker_llvm {
            // An older patch level of LLVM cannot always read the bitcode of a newer one.
            eprintln!(
                "warning: rustc carries LLVM {rustc_llvm}, bpf-linker LLVM {linker_llvm}; unless \
                 they agree, linking can fail (\"Invalid record\") and the objects come out \
                 different: upgrade rustc-web and llvm-{LLVM_MAJOR}-dev together"
            );
        }
        let versions =
            format!("rustc {rustc} (LLVM {rustc_llvm}), bpf-linker {version} (LLVM {linker_llvm})");
        Ok(Toolchain { nightly: false, linker, strip, versions })
    }

    fn nightly() -> Result<Toolchain> {
        let ask = |args: &[&str]| sh::ask("rustup", &[&["run", "nightly"], args].concat());
        let verbose = ask(&["rustc", "-vV"]).context("rustup has no nightly")?;
        let sysroot = ask(&["rustc", "--print", "sysroot"]).context("nightly has no sysroot")?;
        let rustlib = Path::new(&sysroot).join("lib/rustlib");
        if !rustlib.join("src/rust/library/core").is_dir() {
            bail!("its rust-src component is missing");
        }
        let linker = linker().context("bpf-linker is missing")?;
        let version = linker_version(&linker).unwrap_or_else(|| "of unknown version".to_owned());
        let (rustc, llvm) = rustc_versions(&verbose);
        let host = field(&verbose, "host").unwrap_or_default();
        let major = llvm.split('.').next().unwrap_or_default();
        let strip = sh::which(&format!("llvm-strip-{major}"))
            .or_else(|| sh::which("llvm-strip"))
            .or_else(|| {
                let component = rustlib.join(host).join("bin/llvm-strip");
                component.is_file().then_some(component)
            })
            .context("llvm-strip is missing")?;
        let versions = format!("rustc {rustc} (LLVM {llvm}), bpf-linker {version}");
        Ok(Toolchain { nightly: true, linker, strip, versions })
    }

    /// Builds the kernel programs into `target_dir`; returns the folder the objects are in.
    pub(crate) fn build(&self, binaries: &[String], target_dir: &Path) -> Result<PathBuf> {
        let mut cargo = self.cargo(binaries);
        // The names of folders in cargo's home are known once the sources are there.
        sh::run(cargo.args(["fetch", "--quiet", "--locked", "--target", TARGET]))?;

        let mut cargo = self.cargo(binaries);
        cargo.args(["build", "--locked", "--profile", "bpf", "--package", "syscost-ebpf"]);
        cargo.args(["--target", TARGET]).arg("--target-dir").arg(target_dir);
        if self.nightly {
            cargo.args(["-Z", "build-std=core"]);
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags()?);
        cargo.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker);
        // Incremental builds split the code differently.
        cargo.env("CARGO_INCREMENTAL", "0");
        cargo.env("RUSTC_WRAPPER", env::current_exe()?).env(SHIM, "1");
        sh::run(&mut cargo)?;
        Ok(target_dir.join(TARGET).join("bpf"))
    }

    /// Drops the debug information; BTF, which is made from it, stays.
    pub(crate) fn strip(&self, from: &Path, to: &Path) -> Result<()> {
        sh::run(Command::new(&self.strip).arg("-g").arg(from).arg("-o").arg(to))
    }

    fn cargo(&self, binaries: &[String]) -> Command {
        if self.nightly {
            let mut cargo = Command::new("rustup");
            cargo.args(["run", "nightly", "cargo"]).current_dir(sh::root());
            cargo.env_remove("RUSTC");
            return cargo;
        }
        let mut cargo = sh::cargo();
        // aya-ebpf and the programs use one unstable feature each; nothing else may.
        let unstable = format!("aya_ebpf,{}", binaries.join(",").replace('-', "_"));
        cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", unstable);
        cargo
    }
}

/// Whether Debian's compiler is there with its `core` for BPF.
pub(crate) fn debian_rustc_has_bpf() -> bool {
    sh::ask(DEBIAN_RUSTC, &["--print", "sysroot"])
        .is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib").join(TARGET).is_dir())
}

/// Finds bpf-linker, also where `cargo install` puts it when that is not on PATH.
pub(crate) fn linker() -> Option<PathBuf> {
    let installed = || Some(sh::cargo_home().ok()?.join("bin/bpf-linker")).filter(|p| p.is_file());
    sh::which("bpf-linker").or_else(installed)
}

/// The version of a bpf-linker; `None` also when it does not start, as after LLVM is removed.
pub(crate) fn linker_version(linker: &Path) -> Option<String> {
    let answer = sh::ask(linker, &["--version"])?;
    answer.split_whitespace().nth(1).map(str::to_owned)
}

/// Calls the compiler in place of cargo, with the hash in `-C metadata` replaced by the crate's name.
///
/// rustc derives the hash in symbol names from it. Cargo's hash depends on the version of cargo and on every crate that
/// only runs at build time, so that an update of `syn` would change the objects.
pub(crate) fn compile_as_rustc() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let Some(rustc) = args.next() else { return ExitCode::from(2) };
    let error = Command::new(rustc).args(with_fixed_metadata(args.collect())).exec();
    eprintln!("xtask: cannot start rustc: {error}");
    ExitCode::FAILURE
}

fn with_fixed_metadata(mut args: Vec<OsString>) -> Vec<OsString> {
    let after = |option: &str| {
        let at = args.iter().position(|arg| arg == option)?;
        args.get(at + 1).and_then(|value| value.to_str()).map(str::to_owned)
    };
    // Crates for the build machine keep the hash, because there may be two versions of one crate.
    let (Some(TARGET), Some(name)) = (after("--target").as_deref(), after("--crate-name")) else {
        return args;
    };
    for arg in &mut args {
        if arg.to_str().is_some_and(|text| text.starts_with("metadata=")) {
            *arg = format!("metadata={name}").into();
        }
    }
    args
}

/// The compiler's options, with unit separators between them, as cargo expects them.
fn rustflags() -> Result<String> {
    let mut flags = vec![
        // For the names of registers in aya-ebpf. What differs between machines is set in globals when loading.
        r#"--cfg=bpf_target_arch="x86_64""#.to_owned(),
        // BTF is made from debug information.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
    ];
    // BTF names source files. If several prefixes match, the last one counts, so the longest comes last.
    let mut folders = vec![(sh::root(), "/syscost"), (sh::cargo_home()?, "/cargo")];
    if let Ok(registries) = sh::cargo_home()?.join("registry/src").read_dir() {
        // The name of a registry's folder has a hash that depends on cargo's version.
        folders.extend(registries.flatten().map(|entry| (entry.path(), "/cargo")));
    }
    for (folder, name) in folders {
        let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
        if real != folder {
            flags.push(format!("--remap-path-prefix={}={name}", real.display()));
        }
    }
    Ok(flags.join("\x1f"))
}

fn rustc_versions(verbose: &str) -> (&str, &str) {
    let unknown = "of unknown version";
    (
        field(verbose, "release").unwrap_or(unknown),
        field(verbose, "LLVM version").unwrap_or(unknown),
    )
}

fn field<'a>(verbose: &'a str, name: &str) -> Option<&'a str> {
    verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(line: &str) -> String {
        let args = with_fixed_metadata(line.split(' ').map(OsString::from).collect());
        args.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn metadata_of_kernel_crates_is_their_name() {
        let line = "--crate-name floor a.rs --target bpfel-unknown-none -C metadata=1f -C opt=3";
        let want = "--crate-name floor a.rs --target bpfel-unknown-none -C metadata=floor -C opt=3";
        assert_eq!(fixed(line), want);
    }

    #[test]
    fn metadata_of_build_time_crates_stays() {
        let line = "--crate-name syn a.rs -C metadata=1f";
        assert_eq!(fixed(line), line);
    }

    #[test]
    fn versions_are_read_from_the_compilers_own_words() {
        let verbose = "rustc 1.96.0 (x)\nhost: h\nrelease: 1.96.0\nLLVM version: 22.1.8";
        assert_eq!(rustc_versions(verbose), ("1.96.0", "22.1.8"));
    }
}
