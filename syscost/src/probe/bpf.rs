//! The commands of bpf(2) that aya does not offer.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read},
    mem::{offset_of, size_of, zeroed},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use aya_obj::generated::{
    BPF_F_MMAPABLE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type, bpf_prog_info, bpf_prog_type,
};

use super::interruption;
use crate::sample::SkippedRuns;

/// How many times the kernel skipped a program.
pub(super) fn recursion_misses(program: BorrowedFd<'_>) -> SkippedRuns {
    let Ok((info, known)) = program_info(program) else { return SkippedRuns::Unknown };
    // Before 5.12 the kernel's struct ends before this member.
    let end = offset_of!(bpf_prog_info, recursion_misses) + size_of::<u64>();
    if known < end {
        return SkippedRuns::NotCounted;
    }
    SkippedRuns::Counted(info.recursion_misses)
}

/// How long a program has run, ns, and how often, while statistics were switched on.
pub(super) fn run_time(program: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let (info, _) = program_info(program).ok()?;
    Some((info.run_time_ns, info.run_cnt))
}

/// The kernel's information on a program, and how many bytes of it the kernel has filled.
fn program_info(program: BorrowedFd<'_>) -> io::Result<(bpf_prog_info, usize)> {
    // SAFETY: plain integers, for which zeroes are the documented "not given".
    let mut info: bpf_prog_info = unsafe { zeroed() };
    let mut attr = nothing_given();
    attr.info.bpf_fd = program.as_raw_fd() as u32;
    attr.info.info = (&raw mut info) as u64;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which outlives the call.
    unsafe { call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    // SAFETY: set above, and updated by the kernel to what it knows of the struct.
    let known = unsafe { attr.info.info_len } as usize;
    Ok((info, known))
}

/// Which tasks an iterator goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tasks {
    /// All tasks of the reader's PID namespace.
    All,
    /// The threads of a process, by its PID in that namespace.
    OfProcess(u32),
}

/// The part of `union bpf_iter_link_info` (include/uapi/linux/bpf.h) on tasks. Unused members must be zero.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct TaskLinkInfo {
    tid: u32,
    pid: u32,
    pidfd: u32,
    reserved: u32,
}

/// Attaches an iterator over `tasks`; before Linux 6.1, over all tasks.
pub(super) fn link_task_iterator(program: BorrowedFd<'_>, tasks: Tasks) -> io::Result<OwnedFd> {
    let only = match tasks {
        Tasks::All => return link_iterator(program, None),
        Tasks::OfProcess(pid) => TaskLinkInfo { pid, ..TaskLinkInfo::default() },
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

/// What the program of an iterator writes for a task.
///
/// # Safety
/// Valid for any bytes.
pub(super) unsafe trait Record: Copy {}

/// Runs an attached iterator, and reads all records.
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

/// Loads a small program for raw tracepoints.
pub(super) fn load_raw_tracepoint(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attr = nothing_given();
    // SAFETY: the union is plain data and zeroed.
    let program = unsafe { &mut attr.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT as u32;
    program.insns = instructions.as_ptr() as u64;
    program.insn_cnt = instructions.len() as u32;
    program.license = license.as_ptr() as u64;
    // SAFETY: the kernel reads so many instructions of eight bytes and the text, which outlive the call; what
    // it returns is a descriptor opened for us.
    let load = || unsafe { call(bpf_cmd::BPF_PROG_LOAD, &mut attr) };
    let fd = interruption::retried_if(load, interruption::may_be)?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a raw tracepoint until what is returned is dropped.
pub(super) fn link_raw_tracepoint(program: &OwnedFd, tracepoint: &CStr) -> io::Result<OwnedFd> {
    let mut attr = nothing_given();
    attr.raw_tracepoint.name = tracepoint.as_ptr() as u64;
    attr.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    // SAFETY: the kernel reads the text, which outlives the call; what it returns is a descriptor opened
    // for us.
    unsafe { call(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Makes an array of one word.
pub(super) fn create_word() -> io::Result<OwnedFd> {
    create_map(bpf_map_type::BPF_MAP_TYPE_ARRAY, size_of::<u64>() as u32, 0)
}

/// The word in such an array.
pub(super) fn word(array: &OwnedFd) -> io::Result<u64> {
    let mut word = 0_u64;
    element(bpf_cmd::BPF_MAP_LOOKUP_ELEM, array, (&raw mut word) as u64).map(|()| word)
}

/// Sets the word in such an array.
pub(super) fn set_word(array: &OwnedFd, word: u64) -> io::Result<()> {
    element(bpf_cmd::BPF_MAP_UPDATE_ELEM, array, (&raw const word) as u64)
}

/// Makes an array of one integer; or, if `inner` is given, of one map like it.
pub(super) fn create_array(inner: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let of_maps = bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS;
    let kind = if inner.is_some() { of_maps } else { bpf_map_type::BPF_MAP_TYPE_ARRAY };
    create_map(kind, 4, inner.map_or(0, AsRawFd::as_raw_fd))
}

/// An array of one value of `bytes` bytes, which can be mapped into memory.
pub(super) fn create_mappable(bytes: u32) -> io::Result<OwnedFd> {
    create_map_with(bpf_map_type::BPF_MAP_TYPE_ARRAY, bytes, 0, BPF_F_MMAPABLE)
}

fn create_map(kind: bpf_map_type, value_size: u32, inner: RawFd) -> io::Result<OwnedFd> {
    create_map_with(kind, value_size, inner, 0)
}

fn create_map_with(
    kind: bpf_map_type,
    value_size: u32,
    inner: RawFd,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = nothing_given();
    // SAFETY: the union is plain data and zeroed.
    let map = unsafe { &mut attr.__bindgen_anon_1 };
    map.map_type = kind as u32;
    (map.key_size, map.value_size, map.max_entries) = (4, value_size, 1);
    map.inner_map_fd = inner as u32;
    map.map_flags = flags;
    // SAFETY: the command reads integers, and returns a descriptor opened for us.
    unsafe { call(bpf_cmd::BPF_MAP_CREATE, &mut attr).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Puts the map `inner` into an array of maps.
pub(super) fn set_inner(array: &OwnedFd, inner: RawFd) -> io::Result<()> {
    element(bpf_cmd::BPF_MAP_UPDATE_ELEM, array, (&raw const inner) as u64)
}

/// Reads or sets the only element of an array. `value` points to memory of the size of its values.
fn element(command: bpf_cmd, array: &OwnedFd, value: u64) -> io::Result<()> {
    let key = 0_u32;
    let mut attr = nothing_given();
    // SAFETY: the union is plain data and zeroed.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = array.as_raw_fd() as u32;
    element.key = (&raw const key) as u64;
    element.__bindgen_anon_1.value = value;
    // SAFETY: the key is of four bytes, the value as the caller says; both outlive the call.
    unsafe { call(command, &mut attr).map(drop) }
}

/// The id of the link that comes after `id`; `None` after the last one.
pub(super) fn next_link(id: u32) -> io::Result<Option<u32>> {
    let mut attr = nothing_given();
    let ids: *mut u32 = (&raw mut attr).cast();
    // SAFETY: the command takes an id at the beginning of `attr` and writes the next one behind it.
    let next = unsafe {
        ids.write(id);
        call(bpf_cmd::BPF_LINK_GET_NEXT_ID, &mut attr).map(|_| ids.add(1).read())
    };
    match next {
        Ok(next) => Ok(Some(next)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The tracepoint that a link attaches its program to; `None` for other links and those that are gone.
pub(super) fn tracepoint_of_link(id: u32) -> Option<String> {
    /// `BPF_LINK_TYPE_RAW_TRACEPOINT`, `BPF_LINK_TYPE_PERF_EVENT` and `BPF_PERF_EVENT_TRACEPOINT`
    /// (include/uapi/linux/bpf.h).
    const RAW_TRACEPOINT: u32 = 1;
    const PERF_EVENT: u32 = 7;
    const PERF_TRACEPOINT: u32 = 5;
    let mut attr = nothing_given();
    let ids: *mut u32 = (&raw mut attr).cast();
    // SAFETY: the command takes an id at the beginning of `attr`, and returns a descriptor opened for us.
    let link = unsafe {
        ids.write(id);
        OwnedFd::from_raw_fd(call(bpf_cmd::BPF_LINK_GET_FD_BY_ID, &mut attr).ok()?)
    };
    let mut info = [0u64; 16];
    link_info(&link, &mut info)?;
    // `struct bpf_link_info`: the type, two ids, and from byte 16 on what the type needs.
    let at = match (info[0] as u32, info[2] as u32) {
        (RAW_TRACEPOINT, _) => 2,
        (PERF_EVENT, PERF_TRACEPOINT) => 3,
        _ => return None,
    };
    let mut name = [0u8; 64];
    info = [0; 16];
    info[at] = name.as_mut_ptr() as u64;
    info[at + 1] = name.len() as u64;
    link_info(&link, &mut info)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    String::from_utf8(name[..end].to_vec()).ok()
}

/// Fills in the kernel's information on a link. Buffers that `info` points to must be live and of the given length.
fn link_info(link: &OwnedFd, info: &mut [u64; 16]) -> Option<()> {
    let mut attr = nothing_given();
    attr.info.bpf_fd = link.as_raw_fd() as u32;
    attr.info.info = info.as_mut_ptr() as u64;
    attr.info.info_len = size_of_val(info) as u32;
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which outlives the call.
    unsafe { call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }.ok().map(drop)
}

fn nothing_given() -> bpf_attr {
    // SAFETY: plain data, for which zeroes are the documented "not given".
    unsafe { zeroed() }
}

/// # Safety
/// Memory that `attr` points to must be live, and laid out as `command` expects.
unsafe fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: as the caller says; the kernel reads and writes `attr` within its size.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
