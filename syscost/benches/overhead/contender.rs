//! Everything whose cost is measured: the two floors, syscost, and its peers where installed.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aya::{EbpfLoader, include_bytes_aligned, programs::RawTracePoint};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use syscost::probe::{HookChoice, Probe, Request};

use crate::worker::{BATCH, Worker};

static FLOOR: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/floor.bpf.o"));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Programs that return at once, on both hooks.
    Empty,
    /// A PID check and a clock read in each, nothing stored.
    Floor,
    SyscostTarget,
    SyscostTargetRaw,
    SyscostBystander,
    SyscostTargetPerf,
    SyscostBystanderPerf,
    Syscount,
    Bpftrace,
    PerfTrace,
    Strace,
}

impl Contender {
    /// Those that need nothing installed.
    pub(crate) fn own() -> Vec<Self> {
        vec![
            Self::Empty,
            Self::Floor,
            Self::SyscostTarget,
            Self::SyscostBystander,
            Self::SyscostTargetRaw,
        ]
    }

    /// All that can be measured here.
    pub(crate) fn all() -> Vec<Self> {
        let perf = [Self::SyscostTargetPerf, Self::SyscostBystanderPerf];
        let peers = [Self::Syscount, Self::Bpftrace, Self::PerfTrace, Self::Strace];
        let installed = |peer: &Self| match peer.command(0) {
            Some((program, _)) => {
                let found = find(program).is_some();
                if !found {
                    eprintln!("not installed, not measured: {program}");
                }
                found
            }
            None => true,
        };
        let perf = perf.into_iter().filter(|_| sees_tracefs());
        Self::own().into_iter().chain(perf).chain(peers.into_iter().filter(installed)).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty pair of programs",
            Self::Floor => "two-clock floor",
            Self::SyscostTarget => "**syscost**, on its target",
            Self::SyscostTargetRaw => "syscost without BTF, on its target",
            Self::SyscostBystander => "**syscost**, on a bystander",
            Self::SyscostTargetPerf => "syscost by perf's tracepoints, on its target",
            Self::SyscostBystanderPerf => "syscost by perf's tracepoints, on a bystander",
            Self::Syscount => "libbpf-tools `syscount -L -p`",
            Self::Bpftrace => "`bpftrace`, a `hist()` per syscall",
            Self::PerfTrace => "`perf trace -s -p`",
            Self::Strace => "`strace -c -p`",
        }
    }

    /// Whether a call under it takes tens of µs, and attaching seconds.
    pub(crate) fn is_slow(self) -> bool {
        self.command(0).is_some()
    }

    /// The cost of a call while this contender is at work.
    pub(crate) fn measure(self, worker: &mut Worker) -> Result<f64> {
        match self {
            Self::Empty => with_floor(worker, "empty_enter", "empty_exit"),
            Self::Floor => with_floor(worker, "floor_enter", "floor_exit"),
            Self::SyscostTarget => with_syscost(worker, worker.pid(), HookChoice::Btf),
            Self::SyscostTargetRaw => with_syscost(worker, worker.pid(), HookChoice::Raw),
            Self::SyscostBystander => with_syscost(worker, std::process::id(), HookChoice::Btf),
            Self::SyscostTargetPerf => with_syscost(worker, worker.pid(), HookChoice::Perf),
            Self::SyscostBystanderPerf => {
                with_syscost(worker, std::process::id(), HookChoice::Perf)
            }
            Self::Syscount | Self::Bpftrace | Self::PerfTrace | Self::Strace => {
                self.with_command(worker)
            }
        }
    }

    fn command(self, pid: u32) -> Option<(&'static str, Vec<String>)> {
        let pid = pid.to_string();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Some(match self {
            Self::Syscount => ("syscount", words(&["-L", "-p", &pid])),
            Self::Bpftrace => {
                let script = format!(
                    "tracepoint:raw_syscalls:sys_enter /pid == {pid}/ \
                       {{ @at[tid] = nsecs; @nr[tid] = args->id; }} \
                     tracepoint:raw_syscalls:sys_exit /pid == {pid} && @at[tid]/ \
                       {{ @ns[@nr[tid]] = hist(nsecs - @at[tid]); delete(@at[tid]); }}"
                );
                ("bpftrace", words(&["-e", &script]))
            }
            Self::PerfTrace => ("perf", words(&["trace", "-s", "-p", &pid])),
            Self::Strace => ("strace", words(&["-c", "-f", "-p", &pid])),
            _ => return None,
        })
    }

    /// The cost of a call under a peer; an error says why the peer did not get to work.
    fn with_command(self, worker: &mut Worker) -> Result<f64> {
        let (program, args) = self.command(worker.pid()).context("not a command")?;
        let mut command = Command::new(find(program).context("not installed")?);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: only system calls between fork and exec.
        unsafe { command.pre_exec(see_tracefs) };
        let mut peer = command.spawn().with_context(|| format!("cannot start {program}"))?;
        // None of them says when it is attached.
        sleep(Duration::from_secs(3));
        if peer.try_wait()?.is_some() {
            let mut said = String::new();
            peer.stderr.take().context("no stderr")?.read_to_string(&mut said)?;
            bail!("{program} ended at once: {}", said.lines().last().unwrap_or("it said nothing"));
        }
        let result = worker.ns_per_call(BATCH / 10);
        kill(Pid::from_raw(peer.id() as i32), Signal::SIGINT)?;
        peer.wait()?;
        result
    }
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

fn sees_tracefs() -> bool {
    Path::new("/sys/kernel/tracing/events").exists()
}

fn with_floor(worker: &mut Worker, enter: &str, exit: &str) -> Result<f64> {
    let mut ebpf = EbpfLoader::new()
        .override_global("TARGET_TGID", &worker.pid(), true)
        .load(FLOOR)
        .context("cannot load the floor programs")?;
    for (name, tracepoint) in [(exit, "sys_exit"), (enter, "sys_enter")] {
        let program: &mut RawTracePoint =
            ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
        program.load()?;
        program.attach(tracepoint)?;
    }
    worker.ns_per_call(BATCH)
}

fn with_syscost(worker: &mut Worker, tgid: u32, hooks: HookChoice) -> Result<f64> {
    let _probe = Probe::attach(&Request { hooks, ..Request::process(tgid) })?;
    worker.ns_per_call(BATCH)
}

/// Where `program` is installed; the tools are not on every user's path.
fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin"].map(Into::into))
        .map(|folder| folder.join(program))
        .find(|file| Path::is_file(file))
}
