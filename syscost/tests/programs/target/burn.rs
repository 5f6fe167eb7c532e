//! CPU time that is used outside system calls and inside, by threads and by children, and what the
//! kernel's accounts say of it.

use std::{mem::MaybeUninit, process, thread};

use crate::{
    done,
    families::{end_with_parent, fork},
    getppid, ready, say, wait_for_line,
};

/// The first thread, `threads` others and `children` children use `ms` ms of CPU time each. Says how much
/// the whole family used, and how much the first thread did, in ns.
pub(crate) fn family(threads: u64, children: u64, ms: u64) {
    ready();
    family_once(threads, children, ms);
}

fn family_once(threads: u64, children: u64, ms: u64) {
    let before = (family_ns(), thread_ns());
    let children: Vec<_> = (0..children).map(|_| child(ms)).collect();
    let others: Vec<_> = (0..threads).map(|_| thread::spawn(move || burn(ms))).collect();
    burn(ms);
    let own = thread_ns() - before.1;
    for other in others {
        other.join().expect("a thread that burns");
    }
    for child in children {
        // SAFETY: waits for our own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    say(&format!("{} {own}", family_ns() - before.0));
    done();
}

/// The first thread alone does so `times` times, each time that it is let.
pub(crate) fn again(times: u64, ms: u64) {
    ready();
    for time in 0..times {
        if time > 0 {
            wait_for_line();
        }
        family_once(0, 0, ms);
    }
}

/// Uses `ms` ms of CPU time, and exits at once.
pub(crate) fn then_exit(ms: u64) {
    ready();
    burn(ms);
    process::exit(0);
}

/// Says the PID of a child that takes `mib` MiB of memory once a line comes, and exits, while another child is
/// busy on the same CPU. Then says how much CPU time it has used, ns.
pub(crate) fn hoard_then_exit(mib: u64) {
    let mut gate = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    assert_eq!(unsafe { libc::pipe(gate.as_mut_ptr()) }, 0);
    stay_on_one_cpu();
    let hoarder = fork();
    if hoarder == 0 {
        let mut byte = 0u8;
        // SAFETY: one byte that lives; ends without running any cleanup.
        unsafe {
            libc::read(gate[0], (&raw mut byte).cast(), 1);
            take_memory(mib << 20);
            libc::_exit(0);
        }
    }
    let other = fork();
    if other == 0 {
        end_with_parent();
        burn(u64::MAX / 1_000_000 / 2);
    }
    say("ready");
    say(&hoarder.to_string());
    wait_for_line();
    let before = usage_ns(libc::RUSAGE_CHILDREN);
    // SAFETY: one byte that lives, and our own children.
    unsafe {
        libc::write(gate[1], b"x".as_ptr().cast(), 1);
        libc::waitpid(hoarder, std::ptr::null_mut(), 0);
        let used = usage_ns(libc::RUSAGE_CHILDREN) - before;
        libc::kill(other, libc::SIGKILL);
        libc::waitpid(other, std::ptr::null_mut(), 0);
        say(&used.to_string());
    }
}

/// Writes to `bytes` bytes of new memory, page by page.
fn take_memory(bytes: u64) {
    let bytes = bytes as usize;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, of which single bytes are written.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        libc::madvise(memory, bytes, libc::MADV_NOHUGEPAGE);
        for page in (0..bytes).step_by(4096) {
            memory.cast::<u8>().add(page).write_volatile(1);
        }
    }
}

/// From now on, this process and its children run on the CPU that it is on.
fn stay_on_one_cpu() {
    // SAFETY: plain data, for which zeroes are valid.
    unsafe {
        let mut cpus: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut cpus);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus), 0);
    }
}

/// Uses `ms` ms of CPU time, half of it before an exec and half after. The second half waits for nothing.
pub(crate) fn across_exec(ms: u64) {
    use std::os::unix::process::CommandExt as _;
    ready();
    burn(ms / 2);
    let program = std::env::current_exe().expect("a program");
    let half = (ms / 2).to_string();
    let error = process::Command::new(program).args(["burn-at-once", &half]).exec();
    panic!("cannot exec: {error}");
}

/// The same, without waiting for anything.
pub(crate) fn at_once(ms: u64) {
    burn(ms);
    process::exit(0);
}

fn child(ms: u64) -> libc::pid_t {
    // SAFETY: the child ends without running any cleanup.
    let child = unsafe { libc::fork() };
    if child == 0 {
        burn(ms);
        // SAFETY: as above.
        unsafe { libc::_exit(0) };
    }
    child
}

/// Uses `ms` ms of CPU time, mostly outside calls.
pub(crate) fn burn(ms: u64) {
    let end = thread_ns() + ms * 1_000_000;
    while thread_ns() < end {
        for number in 0..200_000u64 {
            std::hint::black_box(number);
        }
        getppid();
    }
}

/// What this thread has used, ns.
fn thread_ns() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel fills it in.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, now.as_mut_ptr());
        now.assume_init()
    };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What this process and the children it has waited for have used, ns.
fn family_ns() -> u64 {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].map(usage_ns).iter().sum()
}

fn usage_ns(whose: i32) -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the kernel fills it in.
    let usage = unsafe {
        libc::getrusage(whose, usage.as_mut_ptr());
        usage.assume_init()
    };
    let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    (us(usage.ru_utime) + us(usage.ru_stime)) * 1_000
}
