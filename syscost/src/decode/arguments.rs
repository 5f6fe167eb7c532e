//! The arguments of a system call as text: as many as the call has, numbers with their sign, and
//! names for constants that have well-known ones.
//!
//! Pure: reads registers, never the memory that they point to.

mod names;
mod table;

use std::collections::BTreeMap;

use names::{Flags, Names};
use nix::sys::signal::Signal;

use super::syscall::{self, Abi};

/// What an argument is, and so how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A pointer, or an address.
    Ptr,
    /// A signed number of 32 bits: PIDs, timeouts, indices.
    Int,
    /// An unsigned number of 32 bits.
    Uint,
    /// A signed number as wide as a register of the ABI.
    Long,
    /// An unsigned number as wide as a register of the ABI: bytes and elements.
    Size,
    /// Flags and whatever else is best read in hexadecimal.
    Hex,
    /// A signed number of 64 bits, in two registers on 32-bit ABIs.
    Wide,
    /// Flags of 64 bits, in two registers on 32-bit ABIs.
    Bits,
    /// A signed number of 64 bits that has two registers on every ABI; on 64-bit ones the first
    /// holds all of it.
    Halves,
    /// A file descriptor.
    Fd,
    /// A file descriptor of a directory, or AT_FDCWD.
    Dir,
    /// A user or a group; -1 leaves it as it is.
    Id,
    /// Permissions, octal.
    Mode,
    /// A signal.
    Signal,
    /// What `lseek` counts from.
    Whence,
    /// A clock.
    Clock,
    /// `TIMER_ABSTIME`.
    TimerFlags,
    /// The operation of `futex`; decides about the arguments behind it.
    FutexOp,
    /// The command of `fcntl`; decides about the argument behind it.
    Fcntl,
    /// The operation of `epoll_ctl`.
    EpollOp,
    /// The operation of `flock`.
    Flock,
    /// The advice of `madvise`.
    Advice,
    /// What `sigprocmask` does.
    SigHow,
    /// A resource limit.
    Resource,
    /// A family of sockets.
    Family,
    /// A type of sockets, with flags.
    SockType,
    /// The level of a socket option.
    SockLevel,
    /// What `shutdown` ends.
    Shutdown,
    /// Flags of `send` and `recv`.
    Msg,
    /// Flags of `open`, and those that others have of them.
    Open,
    /// What `access` asks for.
    Access,
    /// Flags of the calls that end in "at".
    AtFlags,
    /// Flags of `unlinkat`.
    Removal,
    /// Flags of `faccessat2`.
    AccessFlags,
    /// Protection of memory.
    Prot,
    /// Flags of `mmap`.
    Map,
    /// Flags of `mremap`; decide whether a new address follows.
    Remap,
    /// Flags of `clone`, with the signal at the end of the child.
    Clone,
    /// Options of `wait4`.
    Wait,
    /// A register that this operation of the call does not use.
    Unused,
}

/// The arguments of call `nr`, as `args` hold them. All six registers in hexadecimal where the call
/// is not known. What descriptors refer to follows them, `4</etc/passwd>`, where `names` has it.
pub fn texts(abi: Abi, nr: u32, args: &[u64; 6], names: &BTreeMap<u32, String>) -> Vec<String> {
    let registers = registers(abi, args);
    let Some(values) = values(abi, nr, &registers) else {
        return registers.map(hex).into();
    };
    let text = |(kind, value)| {
        let text = write(kind, abi, value);
        let name = descriptor(kind, value).and_then(|fd| names.get(&fd));
        name.map_or(text.clone(), |name| format!("{text}<{name}>"))
    };
    values.into_iter().map(text).collect()
}

/// The file descriptors among the arguments of call `nr`, as `args` hold them.
pub fn descriptors(abi: Abi, nr: u32, args: &[u64; 6]) -> Vec<u32> {
    let values = values(abi, nr, &registers(abi, args)).unwrap_or_default();
    values.into_iter().filter_map(|(kind, value)| descriptor(kind, value)).collect()
}

fn descriptor(kind: Kind, value: u64) -> Option<u32> {
    let fd = u32::try_from(value as i32).ok()?;
    matches!(kind, Kind::Fd | Kind::Dir).then_some(fd)
}

fn registers(abi: Abi, args: &[u64; 6]) -> [u64; 6] {
    args.map(|register| if is_32_bit(abi) { register & 0xffff_ffff } else { register })
}

/// What the arguments of a call are, with their values; `None` where the call is not known.
fn values(abi: Abi, nr: u32, registers: &[u64; 6]) -> Option<Vec<(Kind, u64)>> {
    let kinds = kinds(abi, &syscall::name(abi, nr), registers)?;
    let mut at = 0;
    let mut values = Vec::new();
    for kind in kinds {
        let pair = match kind {
            Kind::Wide | Kind::Bits => is_32_bit(abi),
            Kind::Halves => true,
            _ => false,
        };
        // The Arm EABI begins a pair at an even register.
        if pair && abi == Abi::Arm {
            at += at % 2;
        }
        let register = |at: usize| registers.get(at).copied().unwrap_or(0);
        let value = if pair && is_32_bit(abi) {
            register(at) | register(at + 1) << 32
        } else {
            register(at)
        };
        at += if pair { 2 } else { 1 };
        if kind != Kind::Unused {
            values.push((kind, value));
        }
    }
    Some(values)
}

/// How many arguments the call has, whatever the operation; `None` where it is not known.
#[cfg(test)]
fn count(abi: Abi, name: &str) -> Option<usize> {
    declared(abi, name).map(<[Kind]>::len)
}

fn is_32_bit(abi: Abi) -> bool {
    matches!(abi, Abi::I386 | Abi::Arm)
}

/// The kinds of the arguments as the call is declared.
fn declared(abi: Abi, name: &str) -> Option<&'static [Kind]> {
    match (abi, name) {
        // They take the address of a structure of their arguments.
        (Abi::I386, "mmap" | "select") => Some(&[Kind::Ptr]),
        // The advice comes first, so that no register is lost to alignment.
        (Abi::Arm, "arm_fadvise64_64") => Some(&[Kind::Fd, Kind::Int, Kind::Wide, Kind::Wide]),
        _ => {
            let place = table::CALLS.binary_search_by(|(other, _)| (*other).cmp(name)).ok()?;
            Some(table::CALLS[place].1)
        }
    }
}

/// The same as this operation uses them.
fn kinds(abi: Abi, name: &str, registers: &[u64; 6]) -> Option<Vec<Kind>> {
    let mut kinds = declared(abi, name)?.to_vec();
    match name {
        "futex" | "futex_time64" => kinds = futex(registers[1]),
        "fcntl" | "fcntl64" => kinds.splice(2.., fcntl(registers[1])).for_each(drop),
        "mremap" if registers[3] & names::MREMAP_FIXED == 0 => kinds.truncate(4),
        "open" if !names::creates(registers[1]) => kinds.truncate(2),
        "openat" if !names::creates(registers[2]) => kinds.truncate(3),
        _ => {}
    }
    Some(kinds)
}

/// futex(2) has a use for some of its registers only, and it depends on the operation.
fn futex(op: u64) -> Vec<Kind> {
    use Kind::{FutexOp, Hex, Ptr, Uint, Unused};
    let rest: &[Kind] = match op & names::FUTEX_COMMAND {
        // WAIT
        0 => &[Uint, Ptr],
        // WAKE
        1 => &[Uint],
        // REQUEUE
        3 => &[Uint, Uint, Ptr],
        // CMP_REQUEUE, CMP_REQUEUE_PI
        4 | 12 => &[Uint, Uint, Ptr, Uint],
        // WAKE_OP
        5 => &[Uint, Uint, Ptr, Hex],
        // LOCK_PI, LOCK_PI2
        6 | 13 => &[Unused, Ptr],
        // UNLOCK_PI, TRYLOCK_PI
        7 | 8 => &[],
        // WAIT_BITSET
        9 => &[Uint, Ptr, Unused, Hex],
        // WAKE_BITSET
        10 => &[Uint, Unused, Unused, Hex],
        // WAIT_REQUEUE_PI
        11 => &[Uint, Ptr, Ptr],
        _ => &[Uint, Hex, Hex, Hex],
    };
    [&[Ptr, FutexOp], rest].concat()
}

/// What follows the command of fcntl(2).
fn fcntl(command: u64) -> Option<Kind> {
    match command {
        // GETFD, GETFL, GETOWN, GETSIG, GETLEASE, GETPIPE_SZ, GET_SEALS
        1 | 3 | 9 | 11 | 1025 | 1032 | 1034 => None,
        // DUPFD, SETOWN, SETLEASE, DUPFD_CLOEXEC, SETPIPE_SZ
        0 | 8 | 1024 | 1030 | 1031 => Some(Kind::Int),
        // SETFL
        4 => Some(Kind::Open),
        // SETSIG
        10 => Some(Kind::Signal),
        // The locks, and SETOWN_EX and GETOWN_EX
        5..=7 | 12..=16 | 36..=38 => Some(Kind::Ptr),
        _ => Some(Kind::Hex),
    }
}

fn write(kind: Kind, abi: Abi, value: u64) -> String {
    // The kernel reads no more of these than 32 bits.
    let (low, signed) = (value as u32, value as i32);
    let named = |names: Names| names.of(signed).map_or_else(|| signed.to_string(), str::to_owned);
    let flags = |flags: Flags| flags.text(low.into());
    match kind {
        Kind::Ptr if value == 0 => "NULL".to_owned(),
        Kind::Ptr => format!("{value:#x}"),
        Kind::Int | Kind::Fd => signed.to_string(),
        Kind::Uint => low.to_string(),
        Kind::Long if is_32_bit(abi) => signed.to_string(),
        Kind::Long | Kind::Wide | Kind::Halves => (value as i64).to_string(),
        Kind::Size => value.to_string(),
        Kind::Hex | Kind::Bits => hex(value),
        Kind::Dir if signed == names::AT_FDCWD => "AT_FDCWD".to_owned(),
        Kind::Dir => signed.to_string(),
        Kind::Id if low == u32::MAX => "-1".to_owned(),
        Kind::Id => low.to_string(),
        Kind::Mode if low == 0 => "0".to_owned(),
        Kind::Mode => format!("0{low:o}"),
        Kind::Signal => match Signal::try_from(signed) {
            Ok(signal) => signal.as_str().to_owned(),
            Err(_) => signed.to_string(),
        },
        Kind::Whence => named(names::WHENCE),
        Kind::Clock => named(names::CLOCKS),
        Kind::TimerFlags => flags(names::TIMER),
        Kind::FutexOp => names::futex_op(low),
        Kind::Fcntl => named(names::FCNTL),
        Kind::EpollOp => named(names::EPOLL),
        Kind::Flock => names::flock(low),
        Kind::Advice => named(names::ADVICE),
        Kind::SigHow => named(names::SIGPROCMASK),
        Kind::Resource => named(names::RESOURCES),
        Kind::Family => named(names::FAMILIES),
        Kind::SockType => names::socket_type(low),
        Kind::SockLevel => named(names::SOCKET_LEVELS),
        Kind::Shutdown => named(names::SHUTDOWN),
        Kind::Msg => flags(names::MSG),
        Kind::Open => names::open(low),
        Kind::Access => flags(names::ACCESS),
        Kind::AtFlags => flags(names::AT),
        Kind::Removal => flags(names::REMOVAL),
        Kind::AccessFlags => flags(names::ACCESS_AT),
        Kind::Prot => flags(names::PROT),
        Kind::Map => flags(names::MAP),
        Kind::Remap => flags(names::MREMAP),
        Kind::Clone => names::clone(value),
        Kind::Wait => flags(names::WAIT),
        Kind::Unused => String::new(),
    }
}

/// A register as C would write it: small numbers as they are.
fn hex(value: u64) -> String {
    if value < 10 { value.to_string() } else { format!("{value:#x}") }
}

#[cfg(test)]
mod tests;
