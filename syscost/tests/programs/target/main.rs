//! A program whose every call is known: what the kernel tests measure.
//!
//! `syscost-target MODE [NUMBER…]` prepares itself, prints "ready", waits for a line on stdin, does
//! what MODE says, prints "done", and exits when stdin ends. The calls that the tests count
//! (`getppid`, `getpgid`, `timer_delete`, …) are made by number and occur nowhere else: neither in
//! the protocol nor in the runtime.

use std::{
    env,
    io::{Read, Write, stdin, stdout},
    os::unix::process::CommandExt,
    process::Command,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

mod abandoned;
mod burn;
mod families;
mod identity;
mod moves;
mod names;
mod parts;
mod ring;
mod seccomp;
mod signals;
mod theft;

use parts::wait_until_in;

fn main() {
    // The program may be called anything.
    let args: Vec<String> =
        env::args_os().skip(1).map(|arg| arg.into_string().expect("text")).collect();
    let mode = args.first().expect("a mode").as_str();
    let number = |index: usize| -> u64 {
        args.get(index + 1).and_then(|arg| arg.parse().ok()).expect("a number")
    };
    match mode {
        "calls" => calls(number(0), number(1), false),
        "jostle" => calls(number(0), number(1), true),
        "churn" => churn(number(0), number(1)),
        "spin" => spin(number(0)),
        "named" => named(number(0), number(1)),
        "renamed" => renamed(number(0)),
        "forks" => forks(number(0), number(1)),
        "vforks" => vforks(number(0)),
        "denied" => seccomp::denied(number(0)),
        "supervised" => seccomp::supervised(number(0), number(1)),
        "supervised-read" => seccomp::supervised_read(),
        "reuse" => families::reuse(number(0), number(1)),
        "exec-by-thread" => identity::exec_by_thread(number(0), 0),
        "burn-then-exec-by-thread" => identity::exec_by_thread(1, number(0)),
        "leader-leaves" => identity::leader_leaves(),
        "toggle" => identity::toggle(&args[1], number(1)),
        "fork-as" => identity::fork_as(&args[1], number(1)),
        "into-cgroup" => identity::into_cgroup(&args[1], number(1)),
        "pid-heir" => families::pid_heir(number(0)),
        "tid-heir" => families::tid_heir(number(0)),
        "elders" => families::elders(number(0), number(1), number(2)),
        "mayflies" => families::mayflies(number(0)),
        "orphans" => families::orphans(number(0), number(1)),
        "swarm" => families::swarm(number(0), number(1)),
        "abandoned" => abandoned::abandoned(number(0), &args[2], &args[3]),
        "exec-in-handler" => abandoned::exec_in_handler("calls"),
        "jump-out-of-two" => abandoned::jump_out_of_two(),
        "jump-and-return" => abandoned::jump_and_return(number(0)),
        "coroutines" => abandoned::coroutines(number(0)),
        "exit-in-handler" => abandoned::exit_in_handler(&args[1] == "all"),
        #[cfg(target_arch = "x86_64")]
        "bare-returns" => abandoned::bare_returns(number(0)),
        "odd-register" => abandoned::odd_register(number(0)),
        "nested" => signals::nested(number(0)),
        "stacked" => signals::stacked(number(0)),
        "crowd" => crowd(number(0), number(1)),
        "sleep" => sleep(number(0), number(1)),
        "blocked" => blocked(),
        "dying" => dying(number(0)),
        "int80" => int80(number(0)),
        "numbers" => numbers(number(0), number(1), number(2)),
        "exec-from-thread" => exec_from_thread(),
        "zombie" => zombie(),
        "leaderless" => leaderless(number(0)),
        "tree" => families::tree(number(0), number(1), number(2)),
        "herd" => families::herd(number(0), number(1)),
        "exec-as" => families::exec_as(&args[1], number(1)),
        "interrupted" => signals::interrupted(number(0), args[2].as_str(), number(2)),
        "nap" => signals::nap(),
        "alarmed" => signals::alarmed(number(0), number(1)),
        "interrupted-then-computing" => signals::interrupted_then_computing(),
        "stops-itself" => signals::stops_itself(),
        "handled" => signals::handled(&args[1]),
        "busy" => busy(),
        "two-kinds" => two_kinds(),
        "hot-then-cool" => hot_then_cool(),
        "hop" => moves::hop(number(0)),
        "moved" => moves::moved(number(0)),
        "zeros" => parts::zeros(number(0)),
        "contended" => parts::contended(number(0)),
        "hand-over" => parts::hand_over(number(0)),
        "faults" => parts::faults(number(0)),
        "user-faults" => parts::user_faults(number(0), number(1)),
        "mixed" => parts::mixed(number(0)),
        "naps" => parts::naps(number(0), number(1), number(2)),
        "steal" => theft::steal(number(0)),
        "dumpable" => theft::dumpable(),
        "burn" => burn::family(number(0), number(1), number(2)),
        "burn-again" => burn::again(number(0), number(1)),
        "burn-then-exit" => burn::then_exit(number(0)),
        "hoard-then-exit" => burn::hoard_then_exit(number(0)),
        "burn-across-exec" => burn::across_exec(number(0)),
        "burn-at-once" => burn::at_once(number(0)),
        "ring" => ring::nops(number(0), number(1)),
        "quiet-ring" => ring::quiet(),
        "odd-results" => families::odd_results(number(0)),
        "names" => names::ask(),
        "panicking-screen" => panicking_screen(),
        _ => panic!("no mode {mode}"),
    }
    // Until the test lets go: what is measured must still be there when it is looked at.
    let _ = stdin().read_to_end(&mut Vec::new());
}

/// `threads` threads, there before "ready", make `each` calls each, and a tenth as many that fail.
/// When they are to `jostle`, they sleep for a moment now and then: whoever wakes up preempts whoever
/// is running, wherever that is.
fn calls(threads: u64, each: u64, jostle: bool) {
    let begin = Arc::new((AtomicU64::new(0), Barrier::new(threads as usize + 1)));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let begin = Arc::clone(&begin);
            thread::spawn(move || {
                begin.0.fetch_add(1, SeqCst);
                begin.1.wait();
                for call in 0..each {
                    getppid();
                    if call % 10 == 0 {
                        fail();
                        if jostle {
                            thread::sleep(Duration::from_micros(50));
                        }
                    }
                }
            })
        })
        .collect();
    // What a thread does to start is over before anything is measured.
    while begin.0.load(SeqCst) < threads {
        thread::yield_now();
    }
    ready();
    begin.1.wait();
    for worker in workers {
        worker.join().expect("a worker");
    }
    done();
}

/// `threads` threads, born and dead one after the other, make `each` calls each.
fn churn(threads: u64, each: u64) {
    ready();
    for _ in 0..threads {
        thread::spawn(move || (0..each).for_each(|_| getppid())).join().expect("a worker");
    }
    done();
}

/// `threads` threads make calls as fast as they can until a line on stdin, every fourth of which fails; then
/// says how many each has made of either kind.
fn spin(threads: u64) {
    let ended = Arc::new(AtomicU64::new(0));
    ready();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                let mut rounds = 0_u64;
                while ended.load(SeqCst) == 0 {
                    (0..3).for_each(|_| getppid());
                    fail();
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    done();
    wait_for_line();
    ended.store(1, SeqCst);
    let rounds: u64 = workers.into_iter().map(|worker| worker.join().expect("a worker")).sum();
    say(&format!("{} {rounds}", 3 * rounds));
    done();
}

/// `threads` threads with names of their own, `thread-0` and so on, there until "done", make `each` calls each.
fn named(threads: u64, each: u64) {
    ready();
    let all_have_called = Arc::new(Barrier::new(threads as usize + 1));
    let workers: Vec<_> = (0..threads)
        .map(|index| {
            let all_have_called = Arc::clone(&all_have_called);
            let work = move || {
                (0..each).for_each(|_| getppid());
                all_have_called.wait();
                wait_for_ever();
            };
            thread::Builder::new().name(format!("thread-{index}")).spawn(work).expect("a thread")
        })
        .collect();
    all_have_called.wait();
    drop(workers);
    done();
}

/// Makes `each` calls under the name "first", as many under "second", and as many under "first" again.
fn renamed(each: u64) {
    take_name(c"first");
    ready();
    for name in [c"second", c"first", c"last"] {
        (0..each).for_each(|_| getppid());
        done();
        wait_for_line();
        take_name(name);
    }
    done();
}

fn take_name(name: &std::ffi::CStr) {
    // SAFETY: the kernel reads a string that ends.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// `children` processes are forked and waited for; each makes `each` calls, which are not ours.
fn forks(children: u64, each: u64) {
    ready();
    for _ in 0..children {
        // SAFETY: the child makes plain system calls only, and ends without running any cleanup.
        let child = unsafe { libc::fork() };
        if child == 0 {
            (0..each).for_each(|_| getppid());
            // SAFETY: as above.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: waits for our own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    done();
}

/// `children` children share our memory until they exit.
fn vforks(children: u64) {
    ready();
    for _ in 0..children {
        let child = vfork_and_exit();
        // SAFETY: waits for our own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    done();
}

/// The child's side must not return from anything: it would take the parent's return addresses
/// away. So it exits right behind the call.
#[cfg(target_arch = "x86_64")]
fn vfork_and_exit() -> i32 {
    let child: i64;
    // SAFETY: the child makes one system call and touches no memory.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, 231",
            "xor edi, edi",
            "syscall",
            "2:",
            inout("rax") libc::SYS_vfork => child,
            out("rdi") _, out("rcx") _, out("r11") _,
        );
    }
    child as i32
}

/// Other machines have no `vfork`; `fork` is as much as the test asks of them.
#[cfg(not(target_arch = "x86_64"))]
fn vfork_and_exit() -> i32 {
    // SAFETY: the child ends without running any cleanup.
    match unsafe { libc::fork() } {
        // SAFETY: as above.
        0 => unsafe { libc::_exit(0) },
        child => child,
    }
}

/// `threads` threads live at the same time and make `each` calls each, before and after all live.
fn crowd(threads: u64, each: u64) {
    ready();
    let work = Arc::new((Barrier::new(threads as usize), each));
    let ids: Vec<_> = (0..threads).map(|_| bare_thread(Arc::clone(&work))).collect();
    for id in ids {
        // SAFETY: a thread of ours that nobody has joined.
        unsafe { libc::pthread_join(id, std::ptr::null_mut()) };
    }
    done();
}

/// Rust's own threads have four mappings each, and the kernel allows 65,530 to a process.
fn bare_thread(work: Arc<(Barrier, u64)>) -> libc::pthread_t {
    extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: handed over below, for this thread alone.
        let work = unsafe { Arc::from_raw(work.cast::<(Barrier, u64)>()) };
        let (all_live, each) = &*work;
        (0..*each).for_each(|_| getppid());
        all_live.wait();
        (0..*each).for_each(|_| getppid());
        std::ptr::null_mut()
    }
    let mut id = 0;
    // SAFETY: the attributes are initialised before they are used; `run` takes the work over.
    unsafe {
        let mut attributes = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut attributes);
        libc::pthread_attr_setstacksize(&raw mut attributes, 64 * 1024);
        libc::pthread_attr_setguardsize(&raw mut attributes, 0);
        let work = Arc::into_raw(work).cast_mut().cast();
        let result = libc::pthread_create(&raw mut id, &raw const attributes, run, work);
        assert_eq!(result, 0, "a thread");
    }
    id
}

/// Sleeps `times` times for `ms` milliseconds.
fn sleep(times: u64, ms: u64) {
    ready();
    (0..times).for_each(|_| sleep_for(Duration::from_millis(ms)));
    done();
}

/// By number, so that it is `nanosleep` and nothing else.
fn sleep_for(time: Duration) {
    let time =
        libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: the kernel reads one timespec.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, 0) };
}

/// Three threads are blocked in `ppoll` before "ready", and stay.
fn blocked() {
    for _ in 0..3 {
        wait_until_in(parts::spawn(wait_for_ever), libc::SYS_ppoll);
    }
    ready();
    done();
}

/// `threads` threads enter `ppoll` while measured; the process then exits around them.
fn dying(threads: u64) {
    ready();
    for _ in 0..threads {
        wait_until_in(parts::spawn(wait_for_ever), libc::SYS_ppoll);
    }
    done();
}

/// `times` 32-bit calls of number 20, `getpid`, and after each one two native calls of that number:
/// `writev`, which fails.
fn int80(times: u64) {
    ready();
    #[cfg(target_arch = "x86_64")]
    for _ in 0..times {
        // SAFETY: getpid takes nothing; `int 0x80` preserves all but rax and r8 to r11.
        unsafe {
            std::arch::asm!("int 0x80", inout("rax") 20u64 => _, out("r8") _, out("r9") _,
                out("r10") _, out("r11") _);
        }
        for _ in 0..2 {
            // SAFETY: there is no file descriptor -1, and nothing is read.
            unsafe { libc::writev(-1, std::ptr::null(), 0) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = times;
    done();
}

/// Each number from `first` to `last` is called `times` times, whatever the kernel makes of it.
fn numbers(first: u64, last: u64, times: u64) {
    ready();
    for number in first..=last {
        for _ in 0..times {
            // SAFETY: the tests choose numbers that no kernel assigns.
            unsafe { libc::syscall(number as i64, 0, 0, 0, 0, 0, 0) };
        }
    }
    done();
}

/// A thread that does not lead its group executes this program again, in mode `calls 1 1000`.
fn exec_from_thread() {
    ready();
    thread::spawn(|| {
        let error =
            Command::new(env::current_exe().expect("our path")).args(["calls", "1", "1000"]).exec();
        panic!("cannot exec: {error}");
    })
    .join()
    .expect("never returns");
}

/// A child that has exited and is not waited for; prints its PID.
#[expect(clippy::zombie_processes, reason = "that is what this mode is for")]
fn zombie() {
    let child = Command::new("true").spawn().expect("true starts");
    // SAFETY: waits for our own child, and leaves it as it is.
    let ended = unsafe {
        let mut about = std::mem::zeroed();
        libc::waitid(libc::P_PID, child.id(), &raw mut about, libc::WEXITED | libc::WNOWAIT)
    };
    assert_eq!(ended, 0);
    say(&child.id().to_string());
    done();
}

/// The first thread ends; another one goes on, makes `each` calls, and ends the process.
fn leaderless(each: u64) {
    thread::spawn(move || {
        // "PID (NAME) STATE …" of the first thread.
        while !std::fs::read_to_string("/proc/self/stat").expect("our own").contains(") Z ") {
            thread::yield_now();
        }
        ready();
        (0..each).for_each(|_| getppid());
        done();
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    // SAFETY: ends this thread only; nothing on its stack is needed by the other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Calls without end.
fn busy() {
    say("ready");
    loop {
        (0..1000).for_each(|_| getppid());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Makes calls as fast as it can until a line on stdin, then a hundred a second until another; says how
/// many it has made.
fn hot_then_cool() {
    // What the calls cost is measured against one CPU, so this needs most of one, also on a busy machine.
    // SAFETY: takes integers. Where it is refused, the budget may take longer to be exceeded.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    let phase = Arc::new(AtomicU64::new(0));
    ready();
    let listener = {
        let phase = Arc::clone(&phase);
        thread::spawn(move || {
            for _ in 0..2 {
                wait_for_line();
                phase.fetch_add(1, SeqCst);
            }
        })
    };
    let mut calls = 0_u64;
    loop {
        match phase.load(SeqCst) {
            0 => {
                (0..1000).for_each(|_| getppid());
                calls += 1000;
            }
            1 => {
                getppid();
                calls += 1;
                thread::sleep(Duration::from_millis(10));
            }
            _ => break,
        }
    }
    listener.join().expect("a listener");
    say(&calls.to_string());
    done();
}

/// Takes the terminal as syscost does, and panics.
fn panicking_screen() {
    let _term = syscost::view::tui::Term::open().expect("a terminal");
    panic!("on purpose");
}

/// In `ppoll` on nothing; not every machine has `pause`.
fn wait_for_ever() {
    // SAFETY: no descriptors, no time limit, no signals: nothing is read or written.
    unsafe { libc::syscall(libc::SYS_ppoll, 0, 0, 0, 0, 0) };
}

fn getppid() {
    // SAFETY: takes nothing and touches no memory.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// Fails with ESRCH: no process has this PID (pid_max is at most 2^22).
fn fail() {
    // SAFETY: takes an integer and touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_getpgid, i32::MAX) };
    assert_eq!(result, -1);
}

/// A thread makes calls of two kinds, one after the other, until the process ends. They fail at once, and each
/// kind has arguments of its own.
fn two_kinds() {
    thread::spawn(|| {
        loop {
            // SAFETY: there is no such file.
            unsafe {
                libc::syscall(libc::SYS_lseek, -1, 0x5eec, 0);
                libc::syscall(libc::SYS_fchmod, -1, 0xc0de, 1);
            }
        }
    });
    ready();
}

fn ready() {
    say("ready");
    wait_for_line();
}

fn wait_for_line() {
    // A byte at a time and unbuffered: one `read` for each of the two bytes of "g\n".
    let mut byte = [0];
    while stdin().read(&mut byte).is_ok_and(|read| read == 1) && byte != *b"\n" {}
}

fn done() {
    say("done");
}

fn say(line: &str) {
    println!("{line}");
    stdout().flush().expect("someone listens");
}
