//! CPU time of the target by the kernel's accounts: for raw hooks, which see no context switches.

use std::{
    fs::File,
    io::{Read, Seek},
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    time::ClockId,
};

use super::{Process, Target, container::Container, thread::Thread};
use crate::{reading::Reading, sample::CpuSample};

/// The CPU time of a target since this was started. All files are opened then, so that reading later needs no
/// privilege.
#[derive(Debug)]
pub struct CpuClock {
    /// `None` where the kernel has no account, for example of all processes of a name.
    parts: Option<Vec<Part>>,
    /// How many targets lived at the last reading.
    left: Option<u64>,
}

/// Which targets have ended since the clock was started.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// How many of the given processes or threads live.
    pub left: u64,
    /// How often another thread has got the tid of the first thread of its process.
    pub leaders_replaced: u64,
}

#[derive(Debug)]
struct Part {
    of: Of,
    began_ns: u64,
    last_ns: u64,
    /// It could not be read any more: the time after the last reading is unknown.
    gone: bool,
}

#[derive(Debug)]
enum Of {
    /// The clock of a process, and its pidfd, which becomes readable when the process has exited: then another process
    /// may have the PID.
    Clock(ClockId, OwnedFd),
    /// A thread's `schedstat`. A thread's clock can be read by threads of the same process only.
    /// `is_first`: whether it is the first one of its process.
    Thread { schedstat: File, is_first: bool },
    /// A cgroup's `cpu.stat`.
    Cgroup(File),
    /// `/proc/stat`.
    Host(File),
}

/// `CPUCLOCK_SCHED` (include/linux/posix-timers_types.h): all time on a CPU, to the nanosecond.
const CPUCLOCK_SCHED: i32 = 2;

impl CpuClock {
    /// Starts the clock of `target`.
    pub fn start(target: &Target) -> Self {
        let parts = parts(target).and_then(|of| of.into_iter().map(Part::start).collect());
        let left = parts.as_ref().map(|parts: &Vec<Part>| parts.len() as u64);
        Self { parts, left }
    }

    /// The CPU time since the start. `ends` is called after the clocks are read.
    pub fn sample(&mut self, ends: impl FnOnce() -> Ends) -> CpuSample {
        let Some(parts) = &mut self.parts else { return CpuSample::UNKNOWN };
        let now: Vec<_> = parts.iter_mut().map(|part| part.of.now_ns()).collect();
        // When another thread execs, it takes the place of the first thread and its account (de_thread, fs/exec.c). The
        // account does not show that.
        let Ends { left, leaders_replaced } = ends();
        // Its tid is another thread's a moment before the exec is over and told.
        let any_ended_lately = self.left.replace(left).is_some_and(|before| left < before);
        let mut uncertain = 0;
        for (part, now) in parts.iter_mut().zip(now) {
            let is_first = matches!(part.of, Of::Thread { is_first: true, .. });
            let may_be_anothers = is_first && leaders_replaced > 0;
            if is_first && any_ended_lately && !may_be_anothers {
                uncertain += 1;
                continue;
            }
            part.advance(now.filter(|_| !may_be_anothers));
        }
        let used_ns = parts.iter().map(|part| part.last_ns - part.began_ns).sum();
        let gone = uncertain + parts.iter().filter(|part| part.gone).count();
        CpuSample {
            used_ns: Reading::exact_if(gone == 0, used_ns),
            unseen: gone as u64,
            ..CpuSample::UNKNOWN
        }
    }
}

fn parts(target: &Target) -> Option<Vec<Of>> {
    let clock = |process: &Process| {
        // As clock_getcpuclockid(3) makes it, which asks first whether the process is there.
        let clock = ClockId::from_raw((!(process.pid as i32) << 3) | CPUCLOCK_SCHED);
        Some(Of::Clock(clock, process.pidfd().try_clone_to_owned().ok()?))
    };
    let thread = |thread: &Thread| {
        let path = format!("/proc/{}/task/{}/schedstat", thread.process.pid, thread.tid);
        let is_first = thread.tid == thread.process.pid;
        Some(Of::Thread { schedstat: File::open(path).ok()?, is_first })
    };
    match target {
        // The kernel has no account of followed children that are gone.
        Target::Processes { follow: true, .. } | Target::Command { .. } => None,
        Target::Processes { given, .. } => given.iter().map(clock).collect(),
        Target::Threads(threads) => threads.iter().map(thread).collect(),
        Target::Cgroup(cgroup) | Target::Container(Container { cgroup, .. }) => {
            Some(vec![Of::Cgroup(File::open(cgroup.cpu_stat().ok()?).ok()?)])
        }
        Target::Comm(_) | Target::User(_) => None,
        Target::Host => Some(vec![Of::Host(File::open("/proc/stat").ok()?)]),
    }
}

impl Part {
    fn start(mut of: Of) -> Option<Self> {
        let began_ns = of.now_ns()?;
        Some(Self { of, began_ns, last_ns: began_ns, gone: false })
    }

    /// `now_ns`: its account now; `None` if it is gone.
    fn advance(&mut self, now_ns: Option<u64>) {
        match now_ns {
            Some(now_ns) if !self.gone => self.last_ns = now_ns.max(self.last_ns),
            _ => self.gone = true,
        }
    }
}

impl Of {
    fn now_ns(&mut self) -> Option<u64> {
        match self {
            Self::Clock(clock, pidfd) => {
                let now = clock.now().ok()?;
                // Asked after the clock was read: until then, the PID was not reused.
                let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                let alive = poll(&mut fds, PollTimeout::ZERO) == Ok(0);
                alive.then(|| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
            }
            // Its first number (fs/proc/base.c, proc_pid_schedstat).
            Self::Thread { schedstat, .. } => {
                read(schedstat)?.split_whitespace().next()?.parse().ok()
            }
            Self::Cgroup(file) => usage_ns(&read(file)?),
            Self::Host(file) => busy_ns(&read(file)?, ticks_per_sec()?),
        }
    }
}

fn read(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

fn ticks_per_sec() -> Option<u64> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0)
}

/// `usage_usec` of a cgroup's `cpu.stat`.
fn usage_ns(text: &str) -> Option<u64> {
    let usec = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(usec.trim().parse::<u64>().ok()? * 1_000)
}

/// The time in user mode, nice or not, and in the kernel, of all CPUs (proc_stat(5)). Interrupts
/// belong to no process.
fn busy_ns(text: &str, ticks_per_sec: u64) -> Option<u64> {
    let all = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = all.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system] = ticks.get(..3)? else { return None };
    Some((user + nice + system) * (1_000_000_000 / ticks_per_sec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_what_its_clock_says() {
        let process = Process::resolve(std::process::id()).unwrap();
        let target = Target::Processes { given: vec![process], follow: false };
        let mut clock = CpuClock::start(&target);
        let used = || {
            let now = ClockId::CLOCK_PROCESS_CPUTIME_ID.now().unwrap();
            now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
        };
        let begin = used();
        while used() - begin < 5_000_000 {}
        let least = used() - begin;
        let passed =
            clock.sample(|| Ends { left: 1, leaders_replaced: 0 }).used_ns.value().unwrap();
        assert!((least..=used()).contains(&passed), "{least} {passed}");
    }

    #[test]
    fn who_has_no_account_is_not_collected() {
        let mut clock = CpuClock::start(&Target::Comm("nobody".to_owned()));
        assert_eq!(clock.sample(|| Ends { left: 0, leaders_replaced: 0 }), CpuSample::UNKNOWN);
    }

    #[test]
    fn accounts_are_read_as_the_kernel_writes_them() {
        assert_eq!(usage_ns("usage_usec 1500\nuser_usec 1000\n"), Some(1_500_000));
        let stat = "cpu  10 2 3 400 5 6 7 8 0 0\ncpu0 1 1 1 1\n";
        assert_eq!(busy_ns(stat, 100), Some(150_000_000));
        assert_eq!(busy_ns("intr 1", 100), None);
    }
}
