//! Calls that a signal handler interrupts and never returns to.

use std::{
    arch::global_asm,
    cell::UnsafeCell,
    mem::MaybeUninit,
    ptr::null_mut,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

use crate::{done, fail, getppid, ready, wait_for_line};

/// Registers to return with: those that a function must preserve, and its stack pointer.
struct Context(UnsafeCell<[u64; 24]>);

// SAFETY: written and read by one thread, the one that makes the calls.
unsafe impl Sync for Context {}

static CONTEXT: Context = Context(UnsafeCell::new([0; 24]));
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// Whether the handler makes a call of its own before it leaves.
static CALLS_FIRST: AtomicBool = AtomicBool::new(false);
/// Whether the handler restores the signal mask, as `siglongjmp` may do.
static RESTORES_MASK: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    /// Makes the call `nr`. Returns its result, or -1 when [`leave`] was called meanwhile.
    fn leavable_call(context: *mut u64, nr: i64, first: u64, second: u64, third: u64) -> i64;

    /// Returns from the `leavable_call` that filled `context`, whatever has been called since.
    fn leave(context: *const u64) -> !;
}

// What `sigsetjmp` and `siglongjmp` do, in one function that returns once.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl leavable_call",
    "leavable_call:",
    "mov [rdi], rbx",
    "mov [rdi + 8], rbp",
    "mov [rdi + 16], r12",
    "mov [rdi + 24], r13",
    "mov [rdi + 32], r14",
    "mov [rdi + 40], r15",
    "mov [rdi + 48], rsp",
    "mov rax, rsi",
    "mov rdi, rdx",
    "mov rsi, rcx",
    "mov rdx, r8",
    "syscall",
    "ret",
    ".globl leave",
    "leave:",
    "mov rbx, [rdi]",
    "mov rbp, [rdi + 8]",
    "mov r12, [rdi + 16]",
    "mov r13, [rdi + 24]",
    "mov r14, [rdi + 32]",
    "mov r15, [rdi + 40]",
    "mov rsp, [rdi + 48]",
    "mov rax, -1",
    "ret",
);
// A function that makes a `getppid`, and goes on with the results that there were.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl injected",
    "injected:",
    "push rax",
    "mov eax, 110",
    "syscall",
    "pop rax",
    "ret",
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl leavable_call",
    "leavable_call:",
    "stp x19, x20, [x0]",
    "stp x21, x22, [x0, 16]",
    "stp x23, x24, [x0, 32]",
    "stp x25, x26, [x0, 48]",
    "stp x27, x28, [x0, 64]",
    "stp x29, x30, [x0, 80]",
    "mov x9, sp",
    "str x9, [x0, 96]",
    "stp d8, d9, [x0, 104]",
    "stp d10, d11, [x0, 120]",
    "stp d12, d13, [x0, 136]",
    "stp d14, d15, [x0, 152]",
    "mov x8, x1",
    "mov x0, x2",
    "mov x1, x3",
    "mov x2, x4",
    "svc 0",
    "ret",
    ".globl leave",
    "leave:",
    "ldp x19, x20, [x0]",
    "ldp x21, x22, [x0, 16]",
    "ldp x23, x24, [x0, 32]",
    "ldp x25, x26, [x0, 48]",
    "ldp x27, x28, [x0, 64]",
    "ldp x29, x30, [x0, 80]",
    "ldr x9, [x0, 96]",
    "mov sp, x9",
    "ldp d8, d9, [x0, 104]",
    "ldp d10, d11, [x0, 120]",
    "ldp d12, d13, [x0, 136]",
    "ldp d14, d15, [x0, 152]",
    "mov x0, -1",
    "ret",
);

/// Blocks `times` times in `call` ("readv" of an empty pipe, or "nanosleep" for an hour), each time
/// until a signal comes whose handler does what `how` says:
///
/// - "jump" leaves by a long jump, without a call in between.
/// - "jump-mask" restores the signal mask by `rt_sigprocmask`, then jumps.
/// - "jump-call" makes a `getppid`, then jumps.
/// - "jump-stack" is "jump-call" on an alternate signal stack.
/// - "jump-restart" is "jump", after which the program makes a `restart_syscall`.
/// - "edit" makes a `getppid`, and returns with a changed result: 0.
/// - "inject" lets the program call a function in place of the call's return, which makes a `getppid`; then the
///   call fails with EINTR (x86-64 only).
///
/// After each jump, one `getpgid` is made from a frame below. At the end, 1,100 `getppid` from
/// there.
pub(crate) fn abandoned(times: u64, how: &str, call: &str) {
    let (nr, first, second, third) = blocking_call(call);
    CALLS_FIRST.store(matches!(how, "jump-call" | "jump-stack"), SeqCst);
    RESTORES_MASK.store(how == "jump-mask", SeqCst);
    if how == "jump-stack" {
        use_signal_stack();
    }
    let stack = if how == "jump-stack" { libc::SA_ONSTACK } else { 0 };
    match how {
        "edit" => handle(edit, 0),
        #[cfg(target_arch = "x86_64")]
        "inject" => handle(inject, 0),
        "jump-mask" => handle(jump, libc::SA_RESTART),
        _ => handle(jump, libc::SA_RESTART | libc::SA_NODEFER | stack),
    }
    ready();
    let helper = interrupt(times, nr);
    for _ in 0..times {
        // SAFETY: the call reads what lives for ever, and `leave` is called by this thread's handler.
        let result = unsafe { leavable_call(CONTEXT.0.get().cast(), nr, first, second, third) };
        let expected = match how {
            "edit" => 0,
            "inject" => -i64::from(libc::EINTR),
            _ => -1,
        };
        assert_eq!(result, expected);
        if how == "jump-restart" {
            // SAFETY: takes nothing.
            unsafe { libc::syscall(libc::SYS_restart_syscall) };
        }
        deeper(&mut |()| fail());
    }
    // All from there: a call from here would show that the last handler has been left.
    let mut helper = Some(helper);
    deeper(&mut |()| {
        helper.take().expect("once").join().expect("the helper");
        (0..1100).for_each(|_| getppid());
    });
    done();
}

/// Blocks in a `readv`; the handler of SIGUSR1 sleeps in a `nanosleep`, and that of SIGUSR2 jumps out of both. Then
/// waits for a line.
pub(crate) fn jump_out_of_two() {
    extern "C" fn sleep(_: i32, _: *mut libc::siginfo_t, _: *mut libc::ucontext_t) {
        let hour = libc::timespec { tv_sec: 3600, tv_nsec: 0 };
        // SAFETY: the kernel reads one timespec.
        unsafe { libc::syscall(libc::SYS_nanosleep, &raw const hour, 0) };
    }
    let (nr, first, second, third) = blocking_call("readv");
    handle_signal(libc::SIGUSR1, sleep, libc::SA_RESTART);
    handle_signal(libc::SIGUSR2, jump, libc::SA_RESTART);
    ready();
    // SAFETY: as in `abandoned`.
    let result = unsafe { leavable_call(CONTEXT.0.get().cast(), nr, first, second, third) };
    assert_eq!(result, -1);
    wait_for_line();
    done();
}

/// Blocks `times` times in a `readv` that a signal's handler jumps out of, and makes a `getpgid` from a frame above;
/// and as often in one at the same place as before, from which the next handler returns: it fails with EINTR.
pub(crate) fn jump_and_return(times: u64) {
    let (nr, first, second, third) = blocking_call("readv");
    handle(jump_every_other_time, libc::SA_NODEFER);
    ready();
    let helper = interrupt(2 * times, nr);
    for call in 0..2 * times {
        let mut result = 0;
        a_little_deeper(&mut || {
            // SAFETY: as in `abandoned`.
            result = unsafe { leavable_call(CONTEXT.0.get().cast(), nr, first, second, third) };
        });
        let is_left = call % 2 == 0;
        assert_eq!(result, if is_left { -1 } else { -i64::from(libc::EINTR) });
        if is_left {
            fail();
        }
    }
    helper.join().expect("the helper");
    done();
}

/// As Go preempts its threads.
#[cfg(target_arch = "x86_64")]
extern "C" fn inject(_: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    unsafe extern "C" {
        fn injected();
    }
    HANDLED.fetch_add(1, SeqCst);
    // SAFETY: the kernel's context, and a stack that the interrupted code uses nothing of below its pointer.
    unsafe {
        let registers = &mut (*context).uc_mcontext.gregs;
        registers[libc::REG_RSP as usize] -= 8;
        *(registers[libc::REG_RSP as usize] as *mut i64) = registers[libc::REG_RIP as usize];
        registers[libc::REG_RIP as usize] = injected as *const () as i64;
    }
}

extern "C" fn jump_every_other_time(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::ucontext_t,
) {
    if HANDLED.load(SeqCst).is_multiple_of(2) {
        jump(signal, info, context);
    }
    count_only(signal, info, context);
}

/// Where the first stack goes on, and where each coroutine does.
static MAIN: Coroutine = Coroutine(UnsafeCell::new(MaybeUninit::zeroed()));
static IN_HANDLER: [Coroutine; 8] =
    [const { Coroutine(UnsafeCell::new(MaybeUninit::zeroed())) }; 8];
static RUNNING: AtomicU64 = AtomicU64::new(0);

struct Coroutine(UnsafeCell<MaybeUninit<libc::ucontext_t>>);

// SAFETY: used by one thread, that switches between them.
unsafe impl Sync for Coroutine {}

impl Coroutine {
    fn context(&self) -> *mut libc::ucontext_t {
        self.0.get().cast()
    }
}

/// `number` coroutines on stacks of their own block in a `readv` each. A signal comes, and its handler switches
/// back to the first stack, which makes a `getppid`. The handlers never go on.
pub(crate) fn coroutines(number: u64) {
    const STACK_BYTES: usize = 64 * 1024;
    extern "C" fn block() {
        let (nr, first, second, third) = blocking_call("readv");
        // SAFETY: the call reads what lives for ever.
        unsafe { leavable_call(CONTEXT.0.get().cast(), nr, first, second, third) };
        unreachable!("nobody writes");
    }
    handle(switch_to_main, libc::SA_RESTART | libc::SA_NODEFER);
    ready();
    let helper = interrupt(number, libc::SYS_readv);
    for index in 0..number {
        RUNNING.store(index, SeqCst);
        let mut coroutine = MaybeUninit::zeroed();
        let stack = Box::leak(vec![0_u8; STACK_BYTES].into_boxed_slice());
        // SAFETY: filled in before it is used; the stack lives for ever.
        unsafe {
            assert_eq!(libc::getcontext(coroutine.as_mut_ptr()), 0);
            (*coroutine.as_mut_ptr()).uc_stack.ss_sp = stack.as_mut_ptr().cast();
            (*coroutine.as_mut_ptr()).uc_stack.ss_size = STACK_BYTES;
            libc::makecontext(coroutine.as_mut_ptr(), block, 0);
            assert_eq!(libc::swapcontext(MAIN.context(), coroutine.as_ptr()), 0);
        }
        getppid();
    }
    helper.join().expect("the helper");
    done();
}

extern "C" fn switch_to_main(_: i32, _: *mut libc::siginfo_t, _: *mut libc::ucontext_t) {
    HANDLED.fetch_add(1, SeqCst);
    let own = IN_HANDLER[RUNNING.load(SeqCst) as usize].context();
    // SAFETY: the first stack waits there.
    unsafe { libc::swapcontext(own, MAIN.context()) };
}

/// Blocks in a call, and the handler of the signal that interrupts it executes `program`, which must be
/// this one: "ready", and what `mode` says.
pub(crate) fn exec_in_handler(mode: &str) {
    let (nr, first, second, third) = blocking_call("readv");
    assert_eq!(mode, "calls");
    handle(exec, libc::SA_RESTART);
    ready();
    interrupt(1, nr);
    // SAFETY: the call reads what lives for ever.
    unsafe { leavable_call(CONTEXT.0.get().cast(), nr, first, second, third) };
    unreachable!("the handler does not return");
}

/// Blocks in a call, and the handler of the signal that interrupts it exits its thread or, with `all`,
/// the process.
pub(crate) fn exit_in_handler(all: bool) {
    let (nr, first, second, third) = blocking_call("nanosleep");
    handle(if all { exit_all } else { exit_thread }, libc::SA_RESTART);
    ready();
    let sleeper = thread::spawn(move || {
        interrupt(1, nr);
        // SAFETY: the call reads what lives for ever.
        unsafe { leavable_call(CONTEXT.0.get().cast(), nr, first, second, third) };
        unreachable!("the handler does not return");
    });
    // A thread that ends by the bare call is never joined.
    std::mem::forget(sleeper);
    while HANDLED.load(SeqCst) == 0 {
        thread::yield_now();
    }
    done();
}

/// Spins with -512, ERESTARTSYS inside the kernel, in the register for results while `times` signals are
/// handled.
pub(crate) fn odd_register(times: u64) {
    handle(count_only, libc::SA_RESTART);
    // SAFETY: takes nothing.
    let spinner = unsafe { libc::gettid() };
    ready();
    let helper = thread::spawn(move || {
        for handled in 0..times {
            send(spinner);
            while HANDLED.load(SeqCst) == handled {
                thread::yield_now();
            }
        }
        getppid();
    });
    while HANDLED.load(SeqCst) < times {
        spin_with(-512);
    }
    helper.join().expect("the helper");
    done();
}

#[cfg(target_arch = "x86_64")]
global_asm!(
    // A frame as the kernel makes it: at the stack pointer, a `ucontext_t`, whose registers are 40 bytes
    // from its begin: rax at 104, rsp at 120, rip at 128 from there.
    ".globl bare_return",
    "bare_return:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi + 144], rsi",
    "mov [rdi + 160], rsp",
    "lea rax, [rip + 2f]",
    "mov [rdi + 168], rax",
    "mov rsp, rdi",
    "mov eax, 15",
    "syscall",
    "2:",
    "syscall",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
);

/// Makes `times` `rt_sigreturn` without a signal, each to a system call instruction that makes a `getppid`.
#[cfg(target_arch = "x86_64")]
pub(crate) fn bare_returns(times: u64) {
    unsafe extern "C" {
        fn bare_return(context: *mut libc::ucontext_t, nr: i64);
    }
    static FRAME: Context = Context(UnsafeCell::new([0; 24]));
    extern "C" fn keep(_: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
        // SAFETY: both live; the flags, the stack and the registers come first.
        unsafe { FRAME.0.get().cast::<u64>().copy_from(context.cast(), 24) };
    }
    handle(keep, 0);
    // SAFETY: takes nothing, and the signal is handled.
    unsafe { libc::raise(libc::SIGUSR1) };
    // The rest of a context: no registers of the floating point unit, and no signal blocked.
    let mut context = [0_u64; 128];
    // SAFETY: by this thread alone.
    let kept = unsafe { FRAME.0.get().read() };
    context[..24].copy_from_slice(&kept);
    context[0] &= !1;
    ready();
    for _ in 0..times {
        // SAFETY: returns behind the call that it makes, with the registers that it had.
        unsafe { bare_return(context.as_mut_ptr().cast(), libc::SYS_getppid) };
    }
    done();
}

/// Long enough to be interrupted, with `value` in the register for results.
fn spin_with(value: i64) {
    // SAFETY: counts a register down.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("2: dec {0}", "jnz 2b", inout(reg) 1_000_000_u64 => _, in("rax") value);
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("2: subs {0}, {0}, 1", "b.ne 2b", inout(reg) 1_000_000_u64 => _, in("x0") value);
    }
}

/// The arguments of a call that blocks for as long as nobody interrupts it, and its number.
fn blocking_call(call: &str) -> (i64, u64, u64, u64) {
    match call {
        "readv" => {
            let mut ends = [0; 2];
            // SAFETY: the kernel writes two descriptors.
            assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
            let byte = Box::leak(Box::new(0_u8));
            let vector = libc::iovec { iov_base: std::ptr::from_mut(byte).cast(), iov_len: 1 };
            let vector: &libc::iovec = Box::leak(Box::new(vector));
            (libc::SYS_readv, ends[0] as u64, std::ptr::from_ref(vector) as u64, 1)
        }
        "nanosleep" => {
            let hour = Box::leak(Box::new(libc::timespec { tv_sec: 3600, tv_nsec: 0 }));
            (libc::SYS_nanosleep, std::ptr::from_ref(hour) as u64, 0, 0)
        }
        _ => panic!("no call {call}"),
    }
}

/// Sends this thread `times` signals, each once it blocks in call `nr`.
fn interrupt(times: u64, nr: i64) -> thread::JoinHandle<()> {
    // SAFETY: takes nothing.
    let tid = unsafe { libc::gettid() };
    thread::spawn(move || {
        let path = format!("/proc/self/task/{tid}/syscall");
        let number = format!("{nr} ");
        for handled in 0..times {
            while !std::fs::read_to_string(&path).expect("a task of ours").starts_with(&number) {
                thread::sleep(Duration::from_micros(200));
            }
            send(tid);
            while HANDLED.load(SeqCst) == handled {
                thread::yield_now();
            }
        }
    })
}

fn send(tid: i32) {
    // SAFETY: a signal that is handled, to a thread of ours.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
}

/// Calls `work` from a frame that is larger than those that calls are made from.
#[inline(never)]
fn a_little_deeper(work: &mut dyn FnMut()) {
    let frame = std::hint::black_box([0_u8; 8 * 1024]);
    work();
    std::hint::black_box(&frame);
}

/// Calls `work` from a frame that is larger than a signal's.
#[inline(never)]
fn deeper(work: &mut dyn FnMut(())) {
    let frame = std::hint::black_box([0_u8; 32 * 1024]);
    work(());
    std::hint::black_box(&frame);
}

extern "C" fn jump(_: i32, _: *mut libc::siginfo_t, _: *mut libc::ucontext_t) {
    if CALLS_FIRST.load(SeqCst) {
        getppid();
    }
    if RESTORES_MASK.load(SeqCst) {
        // SAFETY: an empty mask of eight bytes lives.
        unsafe {
            let none = 0_u64;
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0, 8);
        }
    }
    HANDLED.fetch_add(1, SeqCst);
    // SAFETY: `leavable_call` has not returned, and nothing here has to be cleaned up.
    unsafe { leave(CONTEXT.0.get().cast()) }
}

extern "C" fn edit(_: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    getppid();
    HANDLED.fetch_add(1, SeqCst);
    // SAFETY: the kernel hands over the context that it will return with.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        (*context).uc_mcontext.gregs[libc::REG_RAX as usize] = 0;
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        (*context).uc_mcontext.regs[0] = 0;
    }
}

extern "C" fn count_only(_: i32, _: *mut libc::siginfo_t, _: *mut libc::ucontext_t) {
    HANDLED.fetch_add(1, SeqCst);
}

extern "C" fn exit_all(_: i32, _: *mut libc::siginfo_t, _: *mut libc::ucontext_t) {
    getppid();
    // SAFETY: ends the process without any cleanup.
    unsafe { libc::_exit(0) };
}

extern "C" fn exit_thread(_: i32, _: *mut libc::siginfo_t, _: *mut libc::ucontext_t) {
    getppid();
    HANDLED.fetch_add(1, SeqCst);
    // SAFETY: ends the thread, which holds nothing.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

extern "C" fn exec(_: i32, _: *mut libc::siginfo_t, _: *mut libc::ucontext_t) {
    let argv = [
        c"syscost-target".as_ptr(),
        c"calls".as_ptr(),
        c"1".as_ptr(),
        c"20".as_ptr(),
        std::ptr::null(),
    ];
    // The program may print and be spoken to: the signal that is handled stays blocked, which does not matter.
    // SAFETY: all strings live.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), argv.as_ptr()) };
}

/// A signal stack above or below the thread's, as the kernel chooses.
fn use_signal_stack() {
    let bytes = 256 * 1024;
    // SAFETY: memory that is never freed.
    unsafe {
        let lowest = libc::mmap(
            null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        let stack = libc::stack_t { ss_sp: lowest, ss_flags: 0, ss_size: bytes };
        assert_eq!(libc::sigaltstack(&raw const stack, null_mut()), 0);
    }
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::ucontext_t);

fn handle(handler: Handler, flags: i32) {
    handle_signal(libc::SIGUSR1, handler, flags);
}

fn handle_signal(signal: i32, handler: Handler, flags: i32) {
    // SAFETY: an all-zero action is valid; the handlers only make system calls, count and jump.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = flags | libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
}
