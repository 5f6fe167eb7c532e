//! What the worker does while it is measured, each kind with its own figure.

use std::{
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    thread,
};

use nix::sys::resource::{UsageWho, getrusage};

use crate::{
    clock::{Clock, Instructions, Nanoseconds},
    stats::spread,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// `getppid`, the cheapest call that the C library does not cache; ns a call.
    Calls,
    /// Two threads hand a byte to and fro over two pipes; ns a context switch, with the wakeup and
    /// the two calls that come with each.
    Switches,
    /// Calls of many kinds, so that whoever reads has many rows to read; ns a call.
    Mix,
}

impl Work {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Switches => "switches",
            Self::Mix => "mix",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Calls, Self::Switches, Self::Mix].into_iter().find(|work| work.word() == word)
    }

    /// How much of it makes a measurement: some 50 ms where nobody traces.
    pub(crate) const fn batch(self) -> u32 {
        match self {
            Self::Calls | Self::Mix => 200_000,
            Self::Switches => 40_000,
        }
    }
}

/// The worker's side: does what it is told, and times it.
#[derive(Default)]
pub(crate) struct Doer {
    /// Made when first asked for: nothing else needs a second thread.
    ping_pong: Option<PingPong>,
}

/// A measurement is the median of that many pieces, so that whoever else has the CPU for a moment
/// is in a few of them only.
const PIECES: u32 = 100;

impl Doer {
    /// ns for each of `count`.
    pub(crate) fn ns(&mut self, work: Work, count: u32) -> f64 {
        let piece = (count / PIECES).max(2);
        self.median::<Nanoseconds>(work, piece) / f64::from(piece)
    }

    /// Instructions for each, where the processor's clock counts them.
    pub(crate) fn instructions(&mut self, work: Work) -> f64 {
        // Even, as switches come in pairs; and so few that the timer interrupts a minority of pieces.
        const SHORT: u32 = 50;
        const LONG: u32 = 100;
        // The difference is free of what a piece takes to begin and to end.
        let [short, long] = [SHORT, LONG].map(|piece| self.median::<Instructions>(work, piece));
        (long - short) / f64::from(LONG - SHORT)
    }

    /// What a piece takes.
    fn median<C: Clock>(&mut self, work: Work, piece: u32) -> f64 {
        let took = (0..PIECES).filter_map(|_| self.piece::<C>(work, piece));
        let took: Vec<f64> = took.map(|ticks| ticks as f64).collect();
        assert!(!took.is_empty(), "this CPU is too busy to measure on");
        spread(&took).median
    }

    fn piece<C: Clock>(&mut self, work: Work, count: u32) -> Option<u64> {
        let begin = C::now();
        match work {
            Work::Calls => (0..count).for_each(|_| call(libc::SYS_getppid, 0)),
            Work::Mix => (0..count).zip(MIX.iter().cycle()).for_each(|(_, nr)| call(*nr, -1)),
            Work::Switches => {
                return self.ping_pong.get_or_insert_with(PingPong::start).switch::<C>(count);
            }
        }
        Some(C::now() - begin)
    }
}

fn call(nr: libc::c_long, arg: libc::c_long) {
    // SAFETY: those who call here give calls that do nothing with this argument but fail, or that
    // take none.
    unsafe { libc::syscall(nr, arg, 0, 0, 0, 0, 0) };
}

/// Calls that take nothing, or that fail because there is no file descriptor -1.
const MIX: [libc::c_long; 32] = [
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sched_yield,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_getdents64,
    libc::SYS_listen,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
];

/// This thread and another one, of which only one can run at a time: they are on one CPU.
struct PingPong {
    to_partner: PipeWriter,
    from_partner: PipeReader,
}

impl PingPong {
    fn start() -> Self {
        take_turns();
        let (mut at_partner, to_partner) = pipe().expect("a pipe can be made");
        let (from_partner, mut to_us) = pipe().expect("a pipe can be made");
        // It inherits the CPU and the policy. It ends with the process.
        thread::spawn(move || {
            let mut byte = [0];
            while at_partner.read_exact(&mut byte).and_then(|()| to_us.write_all(&byte)).is_ok() {}
        });
        Self { to_partner, from_partner }
    }

    /// What `switches` take; `None` where others on this CPU broke the turns, as there are fewer
    /// wakeups then.
    fn switch<C: Clock>(&mut self, switches: u32) -> Option<u64> {
        let mut byte = [0];
        let blocked = times_blocked();
        let begin = C::now();
        for _ in 0..switches / 2 {
            self.to_partner.write_all(&byte).expect("the partner listens");
            self.from_partner.read_exact(&mut byte).expect("the partner answers");
        }
        let took = C::now() - begin;
        (times_blocked() - blocked >= i64::from(switches) * 9 / 10).then_some(took)
    }
}

/// Who is woken waits until the other one blocks, so that each switch comes with a wakeup.
fn take_turns() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the one struct that it is given.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) };
    assert_eq!(done, 0, "the policy for batch jobs is everybody's to take");
}

/// How often threads of this process gave up the CPU by themselves.
fn times_blocked() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may know what it used");
    usage.voluntary_context_switches()
}
