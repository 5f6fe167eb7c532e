//! The commands of bpf(2) that aya does not offer.

use std::{
    fs::File,
    io::{self, Read},
    mem::{offset_of, size_of, zeroed},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_info};

/// How many times the kernel skipped a program; `None` before 5.12, which does not count it.
pub(super) fn recursion_misses(program: BorrowedFd<'_>) -> Option<u64> {
    let (info, known) = program_info(program)?;
    let end = offset_of!(bpf_prog_info, recursion_misses) + size_of::<u64>();
    (known >= end).then_some(info.recursion_misses)
}

/// How long a program has run, ns, and how often, while statistics were switched on.
pub(super) fn run_time(program: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let (info, _) = program_info(program)?;
    Some((info.run_time_ns, info.run_cnt))
}

/// What the kernel tells of a program, and how many bytes of that it knows.
fn program_info(program: BorrowedFd<'_>) -> Option<(bpf_prog_info, usize)> {
    // SAFETY: plain integers, for which zeroes are the documented "not given".
    let mut info: bpf_prog_info = unsafe { zeroed() };
    let mut attr = nothing_given();
    attr.info.bpf_fd = program.as_raw_fd() as u32;
    attr.info.info = (&raw mut info) as u64;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which outlives the call.
    unsafe { call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }.ok()?;
    // SAFETY: set above, and updated by the kernel to what it knows of the struct.
    let known = unsafe { attr.info.info_len } as usize;
    Some((info, known))
}

/// Which tasks an iterator goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tasks {
    /// All that the reader's PID namespace holds.
    All,
    /// The threads of a process, by its PID in that namespace.
    OfProcess(u32),
    /// One thread, by its tid in that namespace.
    Thread(u32),
}

/// `union bpf_iter_link_info` (include/uapi/linux/bpf.h), as far as it is about tasks. What is not used
/// must be zero.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct TaskLinkInfo {
    tid: u32,
    pid: u32,
    pidfd: u32,
    reserved: u32,
}

/// Attaches an iterator over `tasks`; before Linux 6.1, which cannot choose, over all of them.
pub(super) fn link_task_iterator(program: BorrowedFd<'_>, tasks: Tasks) -> io::Result<OwnedFd> {
    let only = match tasks {
        Tasks::All => return link_iterator(program, None),
        Tasks::OfProcess(pid) => TaskLinkInfo { pid, ..TaskLinkInfo::default() },
        Tasks::Thread(tid) => TaskLinkInfo { tid, ..TaskLinkInfo::default() },
    };
    link_iterator(program, Some(&only)).or_else(|_| link_iterator(program, None))
}

fn link_iterator(program: BorrowedFd<'_>, only: Option<&TaskLinkInfo>) -> io::Result<OwnedFd> {
    let mut attr = nothing_given();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
    if let Some(only) = only {
        // SAFETY: the union is plain data and zeroed.
        let info = unsafe { &mut attr.link_create.__bindgen_anon_3.__bindgen_anon_1 };
        info.iter_info = std::ptr::from_ref(only) as u64;
        info.iter_info_len = size_of::<TaskLinkInfo>() as u32;
    }
    // SAFETY: the kernel reads `iter_info_len` bytes of `only`, which outlives the call; what it
    // returns is a descriptor opened for us.
    unsafe { call(bpf_cmd::BPF_LINK_CREATE, &mut attr).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// What an iterator's program writes, one after the other.
///
/// # Safety
/// Valid for any bytes.
pub(super) unsafe trait Record: Copy {}

/// Runs an attached iterator, and reads all that its program writes.
pub(super) fn run_iterator<R: Record>(link: BorrowedFd<'_>) -> io::Result<Vec<R>> {
    let mut attr = nothing_given();
    attr.iter_create.link_fd = link.as_raw_fd() as u32;
    // SAFETY: the command reads two integers, and returns a descriptor opened for us.
    let mut run =
        unsafe { call(bpf_cmd::BPF_ITER_CREATE, &mut attr).map(|fd| File::from_raw_fd(fd)) }?;
    let mut bytes = Vec::new();
    run.read_to_end(&mut bytes)?;
    let records = bytes.chunks_exact(size_of::<R>());
    // SAFETY: as long as the record, which is valid for any bytes; they may be unaligned.
    let read = |bytes: &[u8]| unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
    Ok(records.map(read).collect())
}

fn nothing_given() -> bpf_attr {
    // SAFETY: plain data, for which zeroes are the documented "not given".
    unsafe { zeroed() }
}

/// # Safety
/// What `attr` points to must be as `command` wants it, and live.
unsafe fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: as the caller says; the kernel reads and writes `attr` within its size.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
