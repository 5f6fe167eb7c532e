//! Calls into the kernel, and how long each takes.

use std::{fs::File, io, io::Write, os::fd::AsRawFd, time::Instant};

use anyhow::{Context, Result};

use super::clock::ticks;

/// What comes before the user work: a call, or nothing.
pub(super) struct Call {
    name: &'static str,
    what: What,
}

enum What {
    Nothing,
    Getppid,
    Read { file: File, buffer: Vec<u8> },
}

impl Call {
    /// From a call that does next to nothing to one that copies as much as a first-level cache holds.
    pub(super) fn all() -> Result<Vec<Self>> {
        let reads =
            [("read of 64 B", 64), ("read of 4 KiB", 4 << 10), ("read of 64 KiB", 64 << 10)];
        let read = |(name, bytes): (&'static str, usize)| {
            let mut file = tempfile::tempfile().context("cannot create a file to read from")?;
            file.write_all(&vec![7; bytes]).context("cannot write the file to read from")?;
            Ok(Self { name, what: What::Read { file, buffer: vec![0; bytes] } })
        };
        let getppid = Self { name: "getppid", what: What::Getppid };
        std::iter::once(Ok(getppid)).chain(reads.into_iter().map(read)).collect()
    }

    /// No call, but about the time of a short call in user mode. The result after this is the error of the method.
    pub(super) const fn nothing() -> Self {
        Self { name: "nothing", what: What::Nothing }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Makes the call. The file is in the page cache, so that nothing waits for a disk.
    #[inline(always)]
    pub(super) fn make(&mut self) {
        match &mut self.what {
            What::Nothing => {
                for _ in 0..NOTHING {
                    ticks();
                }
            }
            What::Getppid => null_syscall(),
            What::Read { file, buffer } => {
                let (fd, to) = (file.as_raw_fd(), buffer.as_mut_ptr().cast());
                // SAFETY: the buffer has room for so many bytes.
                let read = unsafe { libc::pread(fd, to, buffer.len(), 0) };
                debug_assert_eq!(read, buffer.len() as isize, "{}", io::Error::last_os_error());
            }
        }
    }
}

/// Readings of the counter that take about as long as a short call.
const NOTHING: usize = 8;

/// `getppid` by the instruction, without a library function.
#[inline(always)]
fn null_syscall() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: takes nothing and touches no memory; the instruction changes these registers.
    unsafe {
        std::arch::asm!("syscall", inout("rax") libc::SYS_getppid => _, out("rcx") _,
            out("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: takes nothing and touches no memory.
    unsafe {
        std::arch::asm!("svc 0", in("x8") libc::SYS_getppid, lateout("x0") _, options(nostack));
    }
}

/// What a null system call takes, ns.
pub(super) fn null_syscall_ns(calls: u32) -> f64 {
    per_call_ns(calls, null_syscall)
}

/// What reading the clock takes by a system call, ns.
pub(super) fn clock_by_syscall_ns(calls: u32) -> f64 {
    per_call_ns(calls, || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel writes one timespec to the place given.
        unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
        std::hint::black_box(now.tv_nsec);
    })
}

/// What reading the clock takes as programs do it, ns.
pub(super) fn clock_by_vdso_ns(calls: u32) -> f64 {
    per_call_ns(calls, || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: as above.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        std::hint::black_box(now.tv_nsec);
    })
}

fn per_call_ns(calls: u32, mut call: impl FnMut()) -> f64 {
    let begin = Instant::now();
    for _ in 0..calls {
        call();
    }
    begin.elapsed().as_nanos() as f64 / f64::from(calls)
}
