//! The tools that syscost is compared with, as one starts them for one process.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[derive(PartialEq)]
pub(crate) struct Peer {
    pub program: &'static str,
    /// `{pid}` stands for the target.
    args: &'static [&'static str],
    /// What it says in the end when it has seen the worker's calls.
    sign: &'static str,
    /// Whether a call under it takes tens of µs.
    pub is_slow: bool,
}

pub(crate) static SYSCOUNT: Peer =
    Peer { program: "syscount", args: &["-L", "-p", "{pid}"], sign: "getppid", is_slow: false };

/// The script as it is mostly written. It keeps nothing of a call that has ended.
pub(crate) static BPFTRACE: Peer = Peer {
    program: "bpftrace",
    args: &[
        "-e",
        "tracepoint:raw_syscalls:sys_enter /pid == {pid}/ \
           { @at[tid] = nsecs; @nr[tid] = args->id; } \
         tracepoint:raw_syscalls:sys_exit /@at[tid]/ \
           { @ns[@nr[tid]] = hist(nsecs - @at[tid]); delete(@at[tid]); delete(@nr[tid]); }",
    ],
    sign: GETPPID_OF_BPFTRACE,
    is_slow: false,
};

/// The cheapest script that says the same: `sys_exit` knows the number as well.
pub(crate) static BPFTRACE_LEAST: Peer = Peer {
    program: "bpftrace",
    args: &[
        "-e",
        "tracepoint:raw_syscalls:sys_enter /pid == {pid}/ { @at[tid] = nsecs; } \
         tracepoint:raw_syscalls:sys_exit /@at[tid]/ \
           { @ns[args->id] = hist(nsecs - @at[tid]); delete(@at[tid]); }",
    ],
    sign: GETPPID_OF_BPFTRACE,
    is_slow: false,
};

#[cfg(target_arch = "x86_64")]
const GETPPID_OF_BPFTRACE: &str = "@ns[110]";
#[cfg(target_arch = "aarch64")]
const GETPPID_OF_BPFTRACE: &str = "@ns[173]";

pub(crate) static PERF_TRACE: Peer =
    Peer { program: "perf", args: &["trace", "-s", "-p", "{pid}"], sign: "getppid", is_slow: true };

pub(crate) static STRACE: Peer =
    Peer { program: "strace", args: &["-c", "-f", "-p", "{pid}"], sign: "getppid", is_slow: true };

/// None of them says when it is attached, and bpftrace compiles first.
const TIME_TO_ATTACH: Duration = Duration::from_secs(3);

impl Peer {
    /// Where it is installed; the tools are not on every user's path.
    pub(crate) fn place(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin", "/usr/bin", "/sbin"].map(Into::into))
            .map(|folder| folder.join(self.program))
            .find(|file| Path::is_file(file))
    }

    /// What `measure` finds while the peer is attached to `pid`; an error says why it was not.
    pub(crate) fn at_work<T>(&self, pid: u32, measure: impl FnOnce() -> Result<T>) -> Result<T> {
        let Self { program, sign, .. } = self;
        let pid = pid.to_string();
        let mut command = Command::new(self.place().context("not installed")?);
        command.args(self.args.iter().map(|arg| arg.replace("{pid}", &pid)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: only system calls between fork and exec.
        unsafe { command.pre_exec(see_tracefs) };
        let mut peer = command.spawn().with_context(|| format!("cannot start {program}"))?;
        sleep(TIME_TO_ATTACH);
        if peer.try_wait()?.is_some() {
            let said = words(&peer.wait_with_output()?);
            bail!("{program} ended at once: {}", said.lines().last().unwrap_or("it said nothing"));
        }
        let measured = measure();
        let said = interrupt(peer)?;
        // Still compiling, it would have cost nothing.
        ensure!(said.contains(sign), "{program} saw no getppid: {said}");
        measured
    }
}

/// Ends the peer, and returns its last words.
fn interrupt(mut peer: Child) -> Result<String> {
    // bpftrace forgets a signal that comes before it waits for events, and waits for ever.
    for _ in 0..10 {
        kill(Pid::from_raw(peer.id() as i32), Signal::SIGINT)?;
        for _ in 0..50 {
            if peer.try_wait()?.is_some() {
                return Ok(words(&peer.wait_with_output()?));
            }
            sleep(Duration::from_millis(20));
        }
    }
    peer.kill()?;
    Ok(words(&peer.wait_with_output()?))
}

fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// Peers on classic tracepoints need tracefs. Where it is not mounted, they get it in a mount
/// namespace of their own, so that the machine stays as it is.
fn see_tracefs() -> std::io::Result<()> {
    const NONE: Option<&str> = None;
    if sees_tracefs() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("tracefs"), "/sys/kernel/tracing", Some("tracefs"), MsFlags::empty(), NONE)?;
    mount(Some("debugfs"), "/sys/kernel/debug", Some("debugfs"), MsFlags::empty(), NONE)?;
    Ok(())
}

pub(crate) fn sees_tracefs() -> bool {
    fs::exists("/sys/kernel/tracing/events").unwrap_or(false)
}
