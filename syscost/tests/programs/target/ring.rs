//! Operations by io_uring, which make no system calls: a thread of the kernel's picks them up.

use std::{
    hint, ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{done, ready, say, wait_for_line};

const ENTRIES: u32 = 8;
const SETUP_SQPOLL: u32 = 1 << 1;
/// How long the kernel's thread looks for more work, ms, before it sleeps: longer than any test takes.
const IDLE_MS: u32 = 60_000;
/// `IORING_SQ_NEED_WAKEUP`: the thread sleeps. It does so before its first work.
const NEED_WAKEUP: u32 = 1;
/// `IORING_ENTER_SQ_WAKEUP`.
const ENTER_WAKEUP: u32 = 1 << 1;
/// `IORING_OFF_SQES`.
const OFF_SQES: i64 = 0x1000_0000;
const SQE_BYTES: usize = 64;
const CQE_BYTES: usize = 16;

/// Where the parts of a ring lie in its memory, bytes: `head, tail, mask, entries, …`.
type Offsets = [u32; 10];

/// `struct io_uring_params` (include/uapi/linux/io_uring.h).
#[derive(Default)]
#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    sq: Offsets,
    cq: Offsets,
}

struct Ring {
    fd: i32,
    memory: *mut u8,
    params: Params,
}

/// Has a ring made, before "ready" or after (`later` not 0), and lets the kernel's thread do `times`
/// operations that do nothing. Says "refused" where the kernel allows no ring.
pub(crate) fn nops(times: u64, later: u64) {
    let early = if later == 0 { Some(Ring::new()) } else { None };
    if matches!(early, Some(None)) {
        return say("refused");
    }
    ready();
    match early.flatten().or_else(Ring::new) {
        None => return say("refused"),
        Some(mut ring) => (0..times).for_each(|_| ring.nop()),
    }
    done();
    // The kernel's thread goes on looking.
    wait_for_line();
}

/// Has a ring made before "ready", and does nothing with it. No thread of the kernel's looks after it.
pub(crate) fn quiet() {
    let mut params = Params::default();
    // SAFETY: the kernel reads and writes one such struct.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut params) };
    if ring < 0 {
        return say("refused");
    }
    ready();
    done();
}

impl Ring {
    fn new() -> Option<Self> {
        let mut params =
            Params { flags: SETUP_SQPOLL, sq_thread_idle: IDLE_MS, ..Params::default() };
        // SAFETY: the kernel reads and writes one such struct.
        let fd =
            unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut params) } as i32;
        if fd < 0 {
            return None;
        }
        let completions = params.cq[5] as usize + params.cq_entries as usize * CQE_BYTES;
        let submissions = params.sq[6] as usize + params.sq_entries as usize * 4;
        let memory = map(fd, completions.max(submissions), 0);
        // Operations of all zeroes are those that do nothing (`IORING_OP_NOP`).
        map(fd, params.sq_entries as usize * SQE_BYTES, OFF_SQES);
        let mut ring = Self { fd, memory, params };
        // From here on the thread is awake.
        ring.nop();
        Some(ring)
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: inside the mapped ring, aligned, and shared with the kernel.
        unsafe { &*self.memory.add(offset as usize).cast::<AtomicU32>() }
    }

    /// One operation, until it is done. Entry 0 stands in each place of the queue from the start.
    fn nop(&mut self) {
        let (tail, done) = (self.word(self.params.sq[1]), self.word(self.params.cq[1]));
        let before = done.load(Ordering::Acquire);
        tail.store(tail.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        while done.load(Ordering::Acquire) == before {
            if self.word(self.params.sq[4]).load(Ordering::SeqCst) & NEED_WAKEUP != 0 {
                self.wake();
            }
            hint::spin_loop();
        }
        self.word(self.params.cq[0]).store(before.wrapping_add(1), Ordering::Release);
    }
}

impl Ring {
    fn wake(&self) {
        let (none, nothing) = (0u32, ptr::null::<u8>());
        // SAFETY: the call takes integers; the signal set is left out.
        unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd,
                none,
                none,
                ENTER_WAKEUP,
                nothing,
                0usize,
            );
        }
    }
}

fn map(fd: i32, bytes: usize, offset: i64) -> *mut u8 {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping, which nothing else uses.
    let memory = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, fd, offset) };
    assert_ne!(memory, libc::MAP_FAILED);
    memory.cast()
}
