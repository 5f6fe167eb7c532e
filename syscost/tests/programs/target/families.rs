//! Processes that make processes.

use std::{
    os::unix::process::CommandExt,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use super::{done, getppid, ready, say, wait_for_ever, wait_for_line};

/// A process that makes `each` calls from its first instruction on, and then `width` children which
/// do the same, down to `depth` below the first one.
pub(crate) fn tree(depth: u64, width: u64, each: u64) {
    ready();
    branch(depth, width, each);
    done();
}

fn branch(depth: u64, width: u64, each: u64) {
    (0..each).for_each(|_| getppid());
    if depth == 0 {
        return;
    }
    for index in 0..width {
        let child = if index % 2 == 0 { fork() } else { clone3() };
        if child == 0 {
            branch(depth - 1, width, each);
            // SAFETY: ends without running any cleanup.
            unsafe { libc::_exit(0) };
        }
        wait(child);
    }
}

/// `children` processes live at the same time, and make `each` calls each before and after all do.
pub(crate) fn herd(children: u64, each: u64) {
    ready();
    let mut gate = [0; 2];
    let mut ready_pipe = [0; 2];
    // SAFETY: the kernel writes two descriptors to each place.
    assert_eq!(unsafe { libc::pipe(gate.as_mut_ptr()) | libc::pipe(ready_pipe.as_mut_ptr()) }, 0);
    let herd: Vec<i32> = (0..children)
        .map(|_| {
            let child = fork();
            if child == 0 {
                (0..each).for_each(|_| getppid());
                let mut byte = 0u8;
                // SAFETY: a byte is written and read; the write end of the gate is not ours to hold.
                unsafe {
                    libc::close(gate[1]);
                    libc::write(ready_pipe[1], (&raw const byte).cast(), 1);
                    libc::read(gate[0], (&raw mut byte).cast(), 1);
                }
                (0..each).for_each(|_| getppid());
                // SAFETY: ends without running any cleanup.
                unsafe { libc::_exit(0) };
            }
            child
        })
        .collect();
    for _ in &herd {
        let mut byte = 0u8;
        // SAFETY: a byte is read.
        assert_eq!(unsafe { libc::read(ready_pipe[0], (&raw mut byte).cast(), 1) }, 1);
    }
    // SAFETY: our own descriptor.
    unsafe { libc::close(gate[1]) };
    herd.into_iter().for_each(wait);
    done();
}

/// A tree of processes that is there before "ready": `width` children each, down to `depth` below the
/// first one; every second one is forked by another thread than the first. All make `each` calls afterwards.
pub(crate) fn elders(depth: u64, width: u64, each: u64) {
    let gates = Gates::new();
    let mut all = 0;
    let mut level = 1;
    for _ in 0..depth {
        level *= width;
        all += level;
    }
    grow(depth, width, each, &gates);
    gates.await_waiting(all);
    ready();
    gates.open();
    (0..each).for_each(|_| getppid());
    wait_for_children();
    done();
}

fn grow(depth: u64, width: u64, each: u64, gates: &Gates) {
    if depth == 0 {
        return;
    }
    for index in 0..width {
        let gates = *gates;
        let bear = move || {
            if fork() == 0 {
                grow(depth - 1, width, each, &gates);
                gates.wait();
                (0..each).for_each(|_| getppid());
                wait_for_children();
                // SAFETY: ends without running any cleanup.
                unsafe { libc::_exit(0) };
            }
        };
        if index % 2 == 0 {
            bear();
        } else {
            thread::spawn(bear).join().expect("a thread");
        }
    }
}

/// Forks one process after the other, each of which makes `each` calls and ends, from "ready" until a line
/// comes.
pub(crate) fn mayflies(each: u64) {
    let ended = Arc::new(AtomicBool::new(false));
    say("ready");
    let waiting = Arc::clone(&ended);
    thread::spawn(move || {
        wait_for_line();
        waiting.store(true, SeqCst);
    });
    while !ended.load(SeqCst) {
        if fork() == 0 {
            (0..each).for_each(|_| getppid());
            // SAFETY: ends without running any cleanup.
            unsafe { libc::_exit(0) };
        }
        wait_for_children();
    }
    done();
}

/// Forks `children` processes, a quarter of them before "ready", and goes on until a line comes, and all of
/// the rest then. Every tenth has a child of its own. Each makes `each` calls once all are there.
pub(crate) fn swarm(children: u64, each: u64) {
    let gates = Gates::new();
    let hurry = Arc::new(AtomicBool::new(false));
    for index in 0..children {
        if index == children / 4 {
            say("ready");
            let hurry = Arc::clone(&hurry);
            thread::spawn(move || {
                wait_for_line();
                hurry.store(true, SeqCst);
            });
        }
        if index >= children / 4 && !hurry.load(SeqCst) {
            thread::sleep(Duration::from_micros(300));
        }
        if fork() == 0 {
            if index % 10 == 0 {
                fork();
            }
            gates.wait();
            (0..each).for_each(|_| getppid());
            wait_for_children();
            // SAFETY: ends without running any cleanup.
            unsafe { libc::_exit(0) };
        }
    }
    gates.await_waiting(children + children.div_ceil(10));
    say("grown");
    wait_for_line();
    gates.open();
    wait_for_children();
    done();
}

/// `number` children, there before "ready". Once a line comes, each of them forks a child of its own and exits, one
/// after the other, 5 ms apart. Those of the second generation, which are "there" then, make `each` calls each at
/// another line.
pub(crate) fn orphans(number: u64, each: u64) {
    let (turns, gates) = (Gates::new(), Gates::new());
    for _ in 0..number {
        if fork() == 0 {
            end_with_parent();
            turns.wait_for_a_byte();
            if fork() == 0 {
                gates.wait();
                (0..each).for_each(|_| getppid());
            }
            // SAFETY: ends without running any cleanup.
            unsafe { libc::_exit(0) };
        }
    }
    ready();
    for _ in 0..number {
        turns.let_one_go();
        thread::sleep(Duration::from_millis(5));
    }
    gates.await_waiting(number);
    wait_for_children();
    say("there");
    wait_for_line();
    gates.open();
    done();
}

/// Where processes wait for each other.
#[derive(Clone, Copy)]
struct Gates {
    /// Closed by the first process to let all others go.
    gate: [i32; 2],
    /// Takes a byte of each that waits.
    waiting: [i32; 2],
}

impl Gates {
    fn new() -> Self {
        let (mut gate, mut waiting) = ([0; 2], [0; 2]);
        // SAFETY: the kernel writes two descriptors to each place.
        assert_eq!(unsafe { libc::pipe(gate.as_mut_ptr()) | libc::pipe(waiting.as_mut_ptr()) }, 0);
        Self { gate, waiting }
    }

    fn wait(&self) {
        let mut byte = 0u8;
        // SAFETY: a byte is written and read; the write end of the gate is not ours to hold.
        unsafe {
            libc::close(self.gate[1]);
            libc::write(self.waiting[1], (&raw const byte).cast(), 1);
            libc::read(self.gate[0], (&raw mut byte).cast(), 1);
        }
    }

    /// Waits for its turn, see [`Gates::let_one_go`].
    fn wait_for_a_byte(&self) {
        let mut byte = 0u8;
        // SAFETY: a byte is read.
        unsafe { libc::read(self.gate[0], (&raw mut byte).cast(), 1) };
    }

    fn let_one_go(&self) {
        let byte = 0u8;
        // SAFETY: a byte is written.
        unsafe { libc::write(self.gate[1], (&raw const byte).cast(), 1) };
    }

    fn await_waiting(&self, number: u64) {
        for _ in 0..number {
            let mut byte = 0u8;
            // SAFETY: a byte is read.
            assert_eq!(unsafe { libc::read(self.waiting[0], (&raw mut byte).cast(), 1) }, 1);
        }
    }

    fn open(&self) {
        // SAFETY: our own descriptor.
        unsafe { libc::close(self.gate[1]) };
    }
}

/// This process is killed when the thread ends that has forked it: should the test fail, it is not left behind.
pub(crate) fn end_with_parent() {
    // SAFETY: integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

fn wait_for_children() {
    // SAFETY: waits for children of our own, until there are none.
    while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
}

/// A child, whose PID is said, makes `each` calls and is killed, each at a line; then another one that is no
/// child of it gets its PID, makes a thousand times as many, and waits.
pub(crate) fn pid_heir(each: u64) {
    let gates = Gates::new();
    let former = fork();
    if former == 0 {
        gates.wait();
        (0..each).for_each(|_| getppid());
        let byte = 0u8;
        // SAFETY: a byte is written.
        unsafe { libc::write(gates.waiting[1], (&raw const byte).cast(), 1) };
        wait_for_ever();
    }
    gates.await_waiting(1);
    say(&former.to_string());
    wait_for_line();
    gates.open();
    gates.await_waiting(1);
    say("made");
    wait_for_line();
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::kill(former, libc::SIGKILL) }, 0);
    wait(former);
    let heir = heir(former, each * 1000);
    done();
    end_at_line(heir);
}

/// The same of a thread of this process: it makes `each` calls at a line, and ends at another.
pub(crate) fn tid_heir(each: u64) {
    let (tid, lines) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    let made = std::sync::mpsc::channel();
    let former = thread::spawn(move || {
        // SAFETY: takes nothing and touches no memory.
        tid.0.send(unsafe { libc::gettid() }).expect("someone listens");
        lines.1.recv().expect("a line");
        (0..each).for_each(|_| getppid());
        made.0.send(()).expect("someone listens");
        lines.1.recv().expect("a line");
    });
    let tid = tid.1.recv().expect("a tid");
    say(&tid.to_string());
    wait_for_line();
    lines.0.send(()).expect("a thread");
    made.1.recv().expect("a thread");
    say("made");
    wait_for_line();
    lines.0.send(()).expect("a thread");
    former.join().expect("a thread");
    let heir = heir(tid, each * 1000);
    done();
    end_at_line(heir);
}

/// A child with this PID, as soon as it is free, which has made `each` calls and waits.
fn heir(pid: i32, each: u64) -> i32 {
    let made = Gates::new();
    let heir = loop {
        match try_clone3_as(pid) {
            -1 => thread::yield_now(),
            heir => break heir,
        }
    };
    if heir == 0 {
        (0..each).for_each(|_| getppid());
        made.wait();
        wait_for_ever();
    }
    assert_eq!(heir, pid);
    made.await_waiting(1);
    heir
}

/// Ends our own child at the end of stdin.
fn end_at_line(child: i32) {
    wait_for_line();
    // SAFETY: our own child.
    unsafe { libc::kill(child, libc::SIGKILL) };
    wait(child);
}

/// Becomes the program at `path`, in mode `calls 1 EACH`.
pub(crate) fn exec_as(path: &str, each: u64) {
    ready();
    let error = Command::new(path).args(["calls", "1", &each.to_string()]).exec();
    panic!("cannot exec {path}: {error}");
}

pub(crate) fn fork() -> i32 {
    // SAFETY: the child makes plain system calls only.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "a child");
    child
}

/// One after the other, `children` processes with the same PID make `each` calls and are killed in
/// the middle of another one.
pub(crate) fn reuse(children: u64, each: u64) {
    ready();
    let mut pid = 0;
    for _ in 0..children {
        let child = clone3_as(pid);
        if child == 0 {
            (0..each).for_each(|_| getppid());
            wait_for_ever();
        }
        pid = child;
        let path = format!("/proc/{pid}/syscall");
        let waits = format!("{} ", libc::SYS_ppoll);
        while !std::fs::read_to_string(&path).expect("our child").starts_with(&waits) {
            thread::yield_now();
        }
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
        wait(pid);
    }
    done();
}

/// Asks `times` times who gets the signals of a descriptor: a process group, whose number is that of an error inside
/// the kernel, ERESTARTSYS (512) to ERESTARTNOHAND (514). Says "refused" where those PIDs are in use.
pub(crate) fn odd_results(times: u64) {
    let child = [512, 513, 514].into_iter().map(try_clone3_as).find(|child| *child >= 0);
    let Some(group) = child else { return say("refused") };
    if group == 0 {
        end_with_parent();
        // SAFETY: integers.
        unsafe { libc::setpgid(0, 0) };
        wait_for_ever();
    }
    // SAFETY: integers, and our own child.
    unsafe {
        libc::setpgid(group, group);
        assert_eq!(libc::fcntl(0, libc::F_SETOWN, -group), 0);
        ready();
        for _ in 0..times {
            // The C library asks in another way.
            assert_eq!(raw_fcntl(0, libc::F_GETOWN), -i64::from(group));
        }
        libc::kill(group, libc::SIGKILL);
    }
    wait(group);
    done();
}

/// `fcntl`, with its result as the kernel gives it.
fn raw_fcntl(fd: i32, command: i32) -> i64 {
    // SAFETY: integers.
    match unsafe { libc::syscall(libc::SYS_fcntl, fd, command) } {
        -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().expect("an error")),
        result => result,
    }
}

/// The newest way to fork, without the runtime's knowledge.
fn clone3() -> i32 {
    clone3_as(0)
}

/// The same; `pid` is the one that the child is to have, if not 0.
fn clone3_as(pid: i32) -> i32 {
    let child = try_clone3_as(pid);
    assert!(child >= 0, "a child");
    child
}

/// The same; -1 while the PID is in use.
fn try_clone3_as(pid: i32) -> i32 {
    let wanted = [pid];
    // SAFETY: plain integers, for which zeroes are valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    if pid != 0 {
        args.set_tid = wanted.as_ptr() as u64;
        args.set_tid_size = 1;
    }
    clone3_by(&args)
}

/// A child in the cgroup that is open as `folder`.
pub(crate) fn clone3_into(folder: i32) -> i32 {
    // SAFETY: plain integers, for which zeroes are valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    // CLONE_INTO_CGROUP (include/uapi/linux/sched.h); the constant of libc overflows.
    args.flags = 0x2_0000_0000;
    args.cgroup = folder as u64;
    clone3_by(&args)
}

fn clone3_by(args: &libc::clone_args) -> i32 {
    // SAFETY: the kernel reads the arguments; none of our flags shares the parent's memory.
    let child =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const *args, size_of::<libc::clone_args>()) };
    child as i32
}

pub(crate) fn wait(child: i32) {
    // SAFETY: waits for our own child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}
