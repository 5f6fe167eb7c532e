//! Starts programs: finds them, runs them, gets root for them. Knows none of the commands.

use std::{
    env,
    ffi::OsStr,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Message, Metadata, MetadataCommand};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    // Asked when xtask runs: two clones that share a target folder also share the compiled xtask.
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_path_buf)
}

/// The cargo that has started xtask, to be run in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Cargo's home folder.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return std::path::absolute(home).context("cannot resolve CARGO_HOME");
    }
    let home = env::home_dir().context("no home folder: set HOME or CARGO_HOME")?;
    Ok(home.join(".cargo"))
}

/// What cargo says of the workspace, without dependencies.
pub(crate) fn metadata() -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.current_dir(root()).no_deps();
    command.exec().context("`cargo metadata` failed")
}

/// The folder that cargo builds into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    Ok(metadata()?.target_directory.into_std_path_buf())
}

/// A program that cargo has built.
pub(crate) struct Executable {
    pub(crate) path: PathBuf,
    /// Whether it is made of tests, and not a program of its own.
    pub(crate) is_test: bool,
}

/// Runs a cargo command that has `--message-format json-render-diagnostics`, and returns the programs
/// that it has built, or found built.
pub(crate) fn executables(cargo: &mut Command) -> Result<Vec<Executable>> {
    let messages = capture(cargo)?;
    let mut executables = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        executables.extend(artifact.executable.map(|path| Executable {
            path: path.into_std_path_buf(),
            is_test: artifact.profile.test,
        }));
    }
    Ok(executables)
}

/// Finds a program on PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Prints the command line and runs it. Fails if the command fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", show(command));
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", show(command));
    }
    Ok(())
}

/// Runs a command to its end.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start `{}`", show(command)))
}

/// Runs a command and returns what it prints to stdout. Its stderr is shown.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", show(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", show(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command and returns what it prints, trimmed; `None` if it is missing or fails. Shows nothing.
pub(crate) fn ask(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An exit code for xtask that says how a child has ended.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// How xtask can run a command as root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It is root already.
    Root,
    /// Through sudo, which may still ask for a password.
    Sudo,
    /// Not at all.
    None,
}

/// How a command would get root now. Asks for no password.
pub(crate) fn privilege() -> Privilege {
    // SAFETY: takes no argument, cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return Privilege::Root;
    }
    let can_ask = std::io::stdin().is_terminal() && which("sudo").is_some();
    if can_ask || ask("sudo", &["-n", "true"]).is_some() {
        Privilege::Sudo
    } else {
        Privilege::None
    }
}

/// A command that runs the program as root, if `privilege` is not `None`.
pub(crate) fn as_root(privilege: Privilege, program: impl AsRef<OsStr>) -> Command {
    match privilege {
        Privilege::Sudo => {
            let mut sudo = Command::new("sudo");
            sudo.arg("--").arg(program);
            sudo
        }
        Privilege::Root | Privilege::None => Command::new(program),
    }
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
