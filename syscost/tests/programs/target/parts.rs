//! Calls whose latency consists of known parts: on a CPU, waiting for one, blocked.
//!
//! Who is to find another thread asleep looks at `/proc/PID/task/TID/syscall`: the kernel tells the
//! number only once the thread is off its CPU and out of the queue. A state of S is not enough, for
//! a thread has it already on its way there.

use std::{
    mem::MaybeUninit,
    ptr::null_mut,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{done, getppid, ready, say, sleep_for, wait_for_ever};

use Which::{First, Last};

const PAGE: usize = 4096;

/// `times` calls that never wait for anything, in a thread that stays on one CPU.
pub(crate) fn zeros(times: u64) {
    pin(Last);
    let zeros = Zeros::of(Duration::from_millis(20));
    ready();
    (0..times).for_each(|_| zeros.read());
    done();
}

/// The same, beside a process that wants that CPU all the time, until `times` of the calls have lost
/// it to that.
pub(crate) fn contended(times: u64) {
    pin(Last);
    let zeros = Zeros::of(Duration::from_millis(20));
    let competitor = competitor();
    ready();
    let mut preempted = 0;
    while preempted < times {
        let before = times_preempted();
        zeros.read();
        preempted += u64::from(times_preempted() > before);
    }
    stop(competitor);
    done();
}

/// Two threads wake each other up, `times` times each; each first finds the other one asleep. So all
/// of 2 × `times` waits sleep, and no other call of `futex` is made but as many that wake up.
pub(crate) fn hand_over(times: u64) {
    let (here, there) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let first = own_tid();
    // Neither a lock nor joining: those are futexes, too.
    let begin = pipe();
    let (waits, wakes) = (Arc::clone(&there), Arc::clone(&here));
    let second = spawn(move || {
        read_byte(begin.0);
        for _ in 0..times {
            sleep_on(&waits);
            wake_sleeper(first, &wakes);
        }
        wait_for_ever();
    });
    wait_until_in(second, libc::SYS_read);
    ready();
    write_byte(begin.1);
    for _ in 0..times {
        wake_sleeper(second, &there);
        sleep_on(&here);
    }
    done();
}

/// `times` calls that copy a megabyte to memory that nobody has touched.
pub(crate) fn faults(times: u64) {
    const BYTES: usize = 1 << 20;
    // SAFETY: takes a name that lives; the file is ours.
    let file = unsafe { libc::memfd_create(c"zeros".as_ptr(), 0) };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::ftruncate(file, BYTES as i64) }, 0);
    let memory = map(BYTES * times as usize, 0);
    ready();
    for time in 0..times as usize {
        pread(file, memory.wrapping_add(time * BYTES), BYTES);
    }
    done();
}

/// `times` calls that each touch a page which is there only once another thread has found the caller
/// asleep, and let it sleep for `ms` milliseconds more.
pub(crate) fn user_faults(times: u64, ms: u64) {
    let memory = map(PAGE * times as usize, 0);
    let Some(faults) = UserFaults::of(memory, PAGE * times as usize) else {
        return say("no userfaultfd");
    };
    // SAFETY: takes a path that lives.
    let file = unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY) };
    let reader = own_tid();
    thread::spawn(move || {
        for _ in 0..times {
            let page = faults.next();
            wait_until_in(reader, libc::SYS_pread64);
            sleep_for(Duration::from_millis(ms));
            faults.fill(page);
        }
        wait_for_ever();
    });
    ready();
    for time in 0..times as usize {
        pread(file, memory.wrapping_add(time * PAGE), 1);
    }
    done();
}

/// A little of everything for `seconds`, beside a process that wants the same CPU all the time. The
/// thread is hardly ever outside of calls. Another one has a share in the futexes; on another CPU,
/// for who wakes up somebody on its own loses it to them on its way out, after the call.
pub(crate) fn mixed(seconds: u64) {
    pin(Last);
    let zeros = Zeros::of(Duration::from_millis(10));
    let competitor = competitor();
    let turn = Arc::new(AtomicU32::new(0));
    let partner = Arc::clone(&turn);
    let other = spawn(move || {
        pin(First);
        loop {
            while partner.load(SeqCst) != 1 {
                wait(&partner, 0);
            }
            sleep_for(Duration::from_millis(1));
            partner.store(0, SeqCst);
            wake(&partner);
        }
    });
    wait_until_in(other, libc::SYS_futex);
    ready();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        sleep_for(Duration::from_millis(1));
        (0..20).for_each(|_| getppid());
        zeros.read();
        turn.store(1, SeqCst);
        wake(&turn);
        while turn.load(SeqCst) != 0 {
            wait(&turn, 1);
        }
    }
    stop(competitor);
    done();
}

/// `threads` threads, there before "ready", sleep `times` times for `us` microseconds, all at once.
pub(crate) fn naps(threads: u64, times: u64, us: u64) {
    let begin = Arc::new(std::sync::Barrier::new(threads as usize + 1));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let begin = Arc::clone(&begin);
            thread::spawn(move || {
                begin.wait();
                (0..times).for_each(|_| sleep_for(Duration::from_micros(us)));
            })
        })
        .collect();
    ready();
    begin.wait();
    for worker in workers {
        worker.join().expect("a worker");
    }
    done();
}

/// Something to read that takes its time and waits for nothing: /dev/zero, by `readv`, over and over
/// into the same memory, which is there and stays.
pub(crate) struct Zeros {
    file: i32,
    vector: Vec<libc::iovec>,
}

impl Zeros {
    const BYTES: usize = 1 << 20;

    /// As much as takes about that long here.
    pub(crate) fn of(about: Duration) -> Self {
        // SAFETY: takes a path that lives.
        let file = unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY) };
        let memory = map(Self::BYTES, libc::MAP_POPULATE | libc::MAP_LOCKED);
        let part = libc::iovec { iov_base: memory.cast(), iov_len: Self::BYTES };
        let mut zeros = Self { file, vector: vec![part] };
        loop {
            let before = cpu_time();
            zeros.read();
            // The kernel takes no more of them.
            if cpu_time() - before >= about || zeros.vector.len() == 1024 {
                return zeros;
            }
            zeros.vector.resize(zeros.vector.len() * 2, part);
        }
    }

    pub(crate) fn read(&self) {
        let (vector, parts) = (self.vector.as_ptr(), self.vector.len());
        // SAFETY: the kernel writes to memory that is mapped and that nobody looks at.
        let read = unsafe { libc::syscall(libc::SYS_readv, self.file, vector, parts) };
        assert_eq!(read as usize, parts * Self::BYTES);
    }
}

/// Faults that this process resolves itself (userfaultfd(2)).
struct UserFaults(i32);

impl UserFaults {
    const API: u64 = 0xc018_aa3f;
    const REGISTER: u64 = 0xc020_aa00;
    const ZERO_PAGE: u64 = 0xc020_aa04;

    /// Those in `memory`; `None` where the kernel has nothing like that.
    fn of(memory: *mut u8, bytes: usize) -> Option<Self> {
        // SAFETY: takes flags only.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) } as i32;
        if fd < 0 {
            return None;
        }
        let faults = Self(fd);
        // Version, features, what it answers.
        faults.control(Self::API, &mut [0xaa, 0, 0]);
        // Where, how much, for missing pages, what it answers.
        faults.control(Self::REGISTER, &mut [memory as u64, bytes as u64, 1, 0]);
        Some(faults)
    }

    /// The page of the next fault.
    fn next(&self) -> u64 {
        let mut message = [0u64; 4];
        // SAFETY: the kernel writes one message, as large as that.
        let read = unsafe { libc::read(self.0, message.as_mut_ptr().cast(), 32) };
        assert_eq!((read, message[0] & 0xff), (32, 0x12), "a page fault");
        message[2] & !(PAGE as u64 - 1)
    }

    /// Has the page be there, and whoever waits for it go on.
    fn fill(&self, page: u64) {
        self.control(Self::ZERO_PAGE, &mut [page, PAGE as u64, 0, 0]);
    }

    fn control<const N: usize>(&self, request: u64, argument: &mut [u64; N]) {
        // SAFETY: the kernel reads and writes as much as the request says, which is what is there.
        let result =
            unsafe { libc::syscall(libc::SYS_ioctl, self.0, request, argument.as_mut_ptr()) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Private memory, without huge pages: nobody rearranges it behind our back.
fn map(bytes: usize, flags: i32) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: new memory, where the kernel likes.
    let memory = unsafe { libc::mmap(null_mut(), bytes, access, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    // SAFETY: it is ours. Kernels without huge pages refuse, which is as good.
    unsafe { libc::madvise(memory, bytes, libc::MADV_NOHUGEPAGE) };
    memory.cast()
}

fn pread(file: i32, to: *mut u8, bytes: usize) {
    // SAFETY: the kernel writes to memory that is mapped and that nobody looks at.
    let read = unsafe { libc::syscall(libc::SYS_pread64, file, to, bytes, 0) };
    assert_eq!(read as usize, bytes);
}

/// One of the CPUs that the process was given.
pub(crate) enum Which {
    First,
    Last,
}

/// Keeps this thread, and those it starts, on one CPU.
pub(crate) fn pin(which: Which) {
    static GIVEN: OnceLock<libc::cpu_set_t> = OnceLock::new();
    // SAFETY: an all-zero set is empty; the kernel reads and writes one that lives.
    unsafe {
        let bytes = size_of::<libc::cpu_set_t>();
        let mut set: libc::cpu_set_t = MaybeUninit::zeroed().assume_init();
        let given = GIVEN.get_or_init(|| {
            let mut given = set;
            assert_eq!(libc::sched_getaffinity(0, bytes, &raw mut given), 0);
            given
        });
        let mut cpus = (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, given));
        let cpu = match which {
            First => cpus.next(),
            Last => cpus.next_back(),
        };
        libc::CPU_SET(cpu.expect("a CPU"), &mut set);
        assert_eq!(libc::sched_setaffinity(0, bytes, &raw const set), 0);
    }
}

/// A child that computes for ever on our CPU, or until we are gone.
fn competitor() -> i32 {
    // SAFETY: no other thread is there yet, and the child makes one plain call.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: takes integers only.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            std::hint::spin_loop();
        }
    }
    child
}

fn stop(competitor: i32) {
    // SAFETY: our own child, which is not waited for yet.
    unsafe {
        libc::kill(competitor, libc::SIGKILL);
        libc::waitpid(competitor, null_mut(), 0);
    }
}

/// How often this thread has lost its CPU to somebody else.
fn times_preempted() -> i64 {
    // SAFETY: the kernel fills it in.
    unsafe {
        let mut usage: libc::rusage = MaybeUninit::zeroed().assume_init();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
        usage.ru_nivcsw
    }
}

/// What this thread has used of its CPU.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills it in.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Sleeps until `word` is no longer 0, and makes it so again.
fn sleep_on(word: &AtomicU32) {
    // Once: whoever wakes us up has seen us asleep.
    wait(word, 0);
    assert_eq!(word.swap(0, SeqCst), 1);
}

/// Wakes up a thread that sleeps on `word`, or will.
fn wake_sleeper(tid: u32, word: &AtomicU32) {
    wait_until_in(tid, libc::SYS_futex);
    word.store(1, SeqCst);
    wake(word);
}

fn wait(word: &AtomicU32, value: u32) {
    let how = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel reads a word that lives; there is no time limit.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), how, value, 0) };
}

fn wake(word: &AtomicU32) {
    let how = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: only the address is used.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), how, 1) };
}

/// Waits until a thread of ours is asleep in call `nr`.
pub(crate) fn wait_until_in(tid: u32, nr: i64) {
    let path = format!("/proc/self/task/{tid}/syscall");
    let number = format!("{nr} ");
    while !std::fs::read_to_string(&path).expect("a task of ours").starts_with(&number) {
        thread::yield_now();
    }
}

/// A thread of which the id is known.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> u32 {
    let tid = Arc::new(AtomicU32::new(0));
    let known = Arc::clone(&tid);
    thread::spawn(move || {
        known.store(own_tid(), SeqCst);
        work();
    });
    while tid.load(SeqCst) == 0 {
        thread::yield_now();
    }
    tid.load(SeqCst)
}

fn own_tid() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() as u32 }
}

pub(crate) fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    (ends[0], ends[1])
}

pub(crate) fn read_byte(end: i32) {
    let mut byte = 0u8;
    // SAFETY: the kernel writes one byte, which lives.
    assert_eq!(unsafe { libc::read(end, (&raw mut byte).cast(), 1) }, 1);
}

pub(crate) fn write_byte(end: i32) {
    // SAFETY: the kernel reads one byte, which lives.
    assert_eq!(unsafe { libc::write(end, c"x".as_ptr().cast(), 1) }, 1);
}
