//! A command that is started to be measured: a child that waits just before its `execve` until it is released.
//!
//! The child prepares everything before it waits. So its first system call after the release is the `execve`.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
    process::ExitStatus,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::signal::{Signal, kill},
    unistd::{ForkResult, Pid, fork, pipe2},
};

use super::capture::{Capture, Output};
use crate::{decode::printable::external, exit, inherited};

/// Where `execvp` looks when PATH is not set (glibc: `confstr(_CS_PATH)`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The child's standard input and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// Those of this process.
    Inherit,
    /// No input. The end of what the child writes to either output is kept, see [`Command::output`].
    Captured,
}

/// Why a command cannot be run, in the same words as a shell.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No folder of PATH has such a program.
    #[error("{0}: command not found; is it in PATH?")]
    NotFound(String),
    /// There is no file at the path that was given.
    #[error("{0}: no such file; check the path of the command")]
    NoSuchFile(String),
    /// The file may not be executed.
    #[error("{0}: not executable; is it a program, and may you run it?")]
    NotExecutable(String),
    /// It is a folder.
    #[error("{0}: a directory; which program in it is to be run?")]
    Directory(String),
    /// The child could not be made.
    #[error("cannot start {0}: {1}")]
    Failed(String, #[source] io::Error),
}

impl SpawnError {
    /// The code that a shell exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) | Self::NoSuchFile(_) => exit::NOT_FOUND,
            Self::NotExecutable(_) | Self::Directory(_) => exit::NOT_EXECUTABLE,
            Self::Failed(..) => exit::TRACING_FAILED,
        }
    }
}

/// The code that a shell exits with when a command has ended like this.
pub fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => exit::KILLED.wrapping_add(signal as u8),
        (None, None) => exit::TRACING_FAILED,
    }
}

/// A command of ours: waiting, running, or ended.
#[derive(Debug)]
pub struct Command {
    pid: Pid,
    /// Writing to it releases the child; closing it ends a child that still waits.
    gate: Option<File>,
    /// Its output, if that is captured.
    captured: Option<Capture>,
    status: Option<ExitStatus>,
}

impl Command {
    /// Makes a child that waits to become `argv`. To be called while this process has one thread.
    ///
    /// # Errors
    /// When there is no such program, or no child can be made.
    ///
    /// # Panics
    /// When `argv` is empty.
    pub fn spawn(argv: &[OsString], stdio: Stdio) -> Result<Self, SpawnError> {
        let name = external(argv[0].as_bytes());
        let failed = |error: io::Error| SpawnError::Failed(name.clone(), error);
        let program = find(&argv[0])?;
        let exec = Exec::prepare(&program, argv).map_err(failed)?;
        let captured = match stdio {
            Stdio::Inherit => None,
            Stdio::Captured => Some(Capture::new().map_err(failed)?),
        };
        let (captured, output) = captured.unzip();
        let nothing = File::open("/dev/null").map_err(failed)?;
        let (wait, gate) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        // SAFETY: there is one thread, and the child only makes system calls on what was prepared
        // before.
        match unsafe { fork() }.map_err(|errno| failed(errno.into()))? {
            ForkResult::Child => exec.child(wait, gate, output.as_ref(), &nothing),
            ForkResult::Parent { child } => {
                Ok(Self { pid: child, gate: Some(gate.into()), captured, status: None })
            }
        }
    }

    /// Its PID.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Releases it.
    ///
    /// # Errors
    /// When it was killed while it waited.
    pub fn release(&mut self) -> Result<()> {
        if let Some(captured) = &self.captured {
            captured.start().context("cannot start a thread")?;
        }
        if let Some(mut gate) = self.gate.take() {
            gate.write_all(b"!").context("the command was killed before it began")?;
        }
        Ok(())
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        use std::os::unix::process::ExitStatusExt;
        if self.status.is_none() {
            let mut status = 0;
            // SAFETY: the kernel writes one integer to the place given.
            let pid = unsafe { libc::waitpid(self.pid.as_raw(), &raw mut status, libc::WNOHANG) };
            self.status = (pid == self.pid.as_raw()).then(|| ExitStatus::from_raw(status));
        }
        self.status
    }

    /// Sends it `signal`. Its PID is still its own, because it was not waited for.
    ///
    /// # Errors
    /// When it now runs as another user.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.status.is_none() {
            kill(self.pid, signal)?;
        }
        Ok(())
    }

    /// What it has written so far; `None` if its output is not captured.
    pub fn output(&self) -> Option<Output> {
        self.captured.as_ref().map(Capture::output)
    }
}

/// A child that was never released ends. It has run nothing of the user's.
impl Drop for Command {
    fn drop(&mut self) {
        if self.gate.take().is_some() && self.try_wait().is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
            // SAFETY: waits for our own child, and writes nowhere.
            unsafe { libc::waitpid(self.pid.as_raw(), std::ptr::null_mut(), 0) };
        }
    }
}

/// The arguments of `execve`, allocated before the fork.
struct Exec {
    program: CString,
    /// The strings that the pointers point to.
    _strings: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

impl Exec {
    fn prepare(program: &Path, argv: &[OsString]) -> io::Result<Self> {
        let mut argv: Vec<OsString> = argv.to_vec();
        let mut path = program.to_owned();
        if !has_interpreter(program)? {
            // As execvp does: a file that the kernel cannot execute is a script for the shell.
            argv.splice(..1, ["/bin/sh".into(), program.as_os_str().to_owned()]);
            path = "/bin/sh".into();
        }
        let string = |text: &OsStr| {
            CString::new(text.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
        };
        let arguments = argv.iter().map(|arg| string(arg)).collect::<io::Result<Vec<_>>>()?;
        let environment = std::env::vars_os()
            .map(|(mut variable, value)| {
                variable.push("=");
                variable.push(value);
                string(&variable)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let pointers = |strings: &[CString]| {
            strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        Ok(Self {
            program: string(path.as_os_str())?,
            argv: pointers(&arguments),
            envp: pointers(&environment),
            _strings: arguments.into_iter().chain(environment).collect(),
        })
    }

    /// Runs in the child. Allocates nothing and takes no lock.
    fn child(&self, wait: OwnedFd, gate: OwnedFd, output: Option<&OwnedFd>, nothing: &File) -> ! {
        // Otherwise the child would keep the pipe open on which it waits.
        drop(gate);
        if let Some(output) = output {
            let (nothing, output) = (nothing.as_raw_fd(), output.as_raw_fd());
            for (from, to) in [(nothing, 0), (output, 1), (output, 2)] {
                // SAFETY: takes two integers; what was open there is not used any more.
                unsafe { libc::dup2(from, to) };
            }
        }
        inherited::restore();
        let mut byte = [0u8];
        // SAFETY: the kernel writes at most one byte to the place given.
        let read =
            unsafe { libc::read(wait.as_fd().as_raw_fd(), byte.as_mut_ptr().cast(), byte.len()) };
        // End of file: the process that would measure it is gone.
        if read != 1 {
            // SAFETY: ends this process without running any cleanup.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: the strings and the arrays of pointers to them live, and end with a null.
        unsafe { libc::execve(self.program.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        let code = match Errno::last() {
            Errno::ENOENT => exit::NOT_FOUND,
            _ => exit::NOT_EXECUTABLE,
        };
        // SAFETY: as above.
        unsafe { libc::_exit(code.into()) };
    }
}

/// The file that `execvp` would execute.
fn find(name: &OsStr) -> Result<PathBuf, SpawnError> {
    let shown = || external(name.as_bytes());
    if name.as_bytes().contains(&b'/') {
        let path = Path::new(name);
        return match (path.exists(), is_executable(path)) {
            (_, true) => Ok(path.to_owned()),
            _ if path.is_dir() => Err(SpawnError::Directory(shown())),
            (true, false) => Err(SpawnError::NotExecutable(shown())),
            (false, false) => Err(SpawnError::NoSuchFile(shown())),
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut found = std::env::split_paths(&folders).map(|folder| folder.join(name));
    let mut forbidden = false;
    let program = found.find(|path| {
        forbidden |= path.is_file();
        is_executable(path)
    });
    match program {
        Some(program) => Ok(program),
        None if forbidden => Err(SpawnError::NotExecutable(shown())),
        None => Err(SpawnError::NotFound(shown())),
    }
}

fn is_executable(path: &Path) -> bool {
    let bits = path.metadata().map(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    // Even root cannot execute a file without an execute bit.
    bits.is_ok_and(|some| some) && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// Whether the kernel can execute this file: it has a magic number or names its interpreter. Otherwise `execve` fails
/// with ENOEXEC (fs/exec.c). This is not tried, because a failed `execve` would be counted. As in a shell, a program
/// has a zero in its first line and a script has none.
fn has_interpreter(program: &Path) -> io::Result<bool> {
    let mut head = [0u8; 128];
    let mut file = match File::open(program) {
        Ok(file) => file,
        // A file that may be executed and not read cannot be a script.
        Err(_) => return Ok(true),
    };
    let length = file.read(&mut head)?;
    let head = &head[..length];
    let is_program = head.split(|byte| *byte == b'\n').next().is_some_and(|line| line.contains(&0));
    Ok(head.starts_with(b"#!") || head.starts_with(b"\x7fELF") || is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str], stdio: Stdio) -> (u8, String) {
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let mut command = Command::spawn(&argv, stdio).unwrap();
        assert_eq!(command.try_wait(), None, "it waits");
        command.release().unwrap();
        let status = loop {
            match command.try_wait() {
                Some(status) => break status,
                None => std::thread::yield_now(),
            }
        };
        let output = command.output().map_or(Vec::new(), |output| output.tail);
        (exit_code(status), String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_command_ends_as_it_wants() {
        assert_eq!(run(&["true"], Stdio::Inherit).0, 0);
        assert_eq!(run(&["sh", "-c", "exit 7"], Stdio::Inherit).0, 7);
        assert_eq!(run(&["sh", "-c", "kill -TERM $$"], Stdio::Inherit).0, 143);
    }

    #[test]
    fn both_outputs_are_captured_in_order_and_there_is_nothing_to_read() {
        let (code, written) =
            run(&["sh", "-c", "echo out; echo err >&2; cat; echo end"], Stdio::Captured);
        assert_eq!((code, written.as_str()), (0, "out\nerr\nend\n"));
    }

    #[test]
    fn a_script_without_an_interpreter_is_the_shells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        // UTF-8, Latin-1, and nothing at all.
        for (script, code) in [
            (&b"exit $1\n"[..], 9),
            ("# größe\nexit $1".as_bytes(), 9),
            (b"# gr\xf6\xdfe\nexit $1", 9),
            (b"", 0),
        ] {
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(run(&[path.to_str().unwrap(), "9"], Stdio::Inherit).0, code);
        }
    }

    #[test]
    fn what_cannot_be_run_is_told_apart() {
        let code =
            |name: &str| Command::spawn(&[name.into()], Stdio::Inherit).unwrap_err().exit_code();
        assert_eq!(code("syscost-no-such-program"), 127);
        assert_eq!(code("/no/such/program"), 127);
        assert_eq!(code("/etc/passwd"), 126);
        assert_eq!(code("/tmp"), 126);
    }

    #[test]
    fn a_command_that_is_never_let_go_leaves_nothing_behind() {
        let command = Command::spawn(&["true".into()], Stdio::Inherit).unwrap();
        let pid = command.pid;
        drop(command);
        assert_eq!(kill(pid, None), Err(Errno::ESRCH));
    }
}
