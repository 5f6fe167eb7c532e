//! Everything whose cost is measured: the two floors, syscost, and its peers where installed.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result};
use aya::{EbpfLoader, include_bytes_aligned, programs::RawTracePoint};
use syscost::probe::{HookChoice, Probe};

use crate::worker::{BATCH, Worker};

static FLOOR: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/floor.bpf.o"));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Programs that return at once, on both hooks.
    Empty,
    /// A PID check and a clock read in each, nothing stored.
    Floor,
    SyscostTarget,
    SyscostTargetRaw,
    SyscostBystander,
    Syscount,
    Bpftrace,
    PerfTrace,
    Strace,
}

impl Contender {
    /// Those that need nothing installed.
    pub fn own() -> Vec<Self> {
        vec![
            Self::Empty,
            Self::Floor,
            Self::SyscostTarget,
            Self::SyscostBystander,
            Self::SyscostTargetRaw,
        ]
    }

    /// All that can be measured here.
    pub fn all() -> Vec<Self> {
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
        Self::own().into_iter().chain(peers.into_iter().filter(installed)).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty pair of programs",
            Self::Floor => "two-clock floor",
            Self::SyscostTarget => "**syscost**, on its target",
            Self::SyscostTargetRaw => "syscost without BTF, on its target",
            Self::SyscostBystander => "**syscost**, on a bystander",
            Self::Syscount => "libbpf-tools `syscount -L -p`",
            Self::Bpftrace => "`bpftrace`, a `hist()` per syscall",
            Self::PerfTrace => "`perf trace -s -p`",
            Self::Strace => "`strace -c -p`",
        }
    }

    /// Whether a call under it takes tens of µs, and attaching seconds.
    pub fn is_slow(self) -> bool {
        self.command(0).is_some()
    }

    /// The cost of a call while this contender is at work.
    pub fn measure(self, worker: &mut Worker) -> Result<f64> {
        match self {
            Self::Empty => with_floor(worker, "empty_enter", "empty_exit"),
            Self::Floor => with_floor(worker, "floor_enter", "floor_exit"),
            Self::SyscostTarget => with_syscost(worker, worker.pid(), HookChoice::Btf),
            Self::SyscostTargetRaw => with_syscost(worker, worker.pid(), HookChoice::Raw),
            Self::SyscostBystander => with_syscost(worker, std::process::id(), HookChoice::Btf),
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

    fn with_command(self, worker: &mut Worker) -> Result<f64> {
        let (program, args) = self.command(worker.pid()).context("not a command")?;
        let mut peer = Command::new(find(program).context("not installed")?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        // None of them says when it is attached.
        sleep(Duration::from_secs(3));
        let still_there = peer.try_wait()?.is_none();
        let result = worker.ns_per_call(BATCH / 10);
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(peer.id() as i32),
            nix::sys::signal::Signal::SIGINT,
        )?;
        peer.wait()?;
        anyhow::ensure!(still_there, "{program} ended before it was measured");
        result
    }
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
    let _probe = Probe::attach(tgid, hooks, false)?;
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
