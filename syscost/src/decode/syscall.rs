//! The system calls of each ABI: numbers, names and strace's classes, from `syscalls.tsv`.

use std::{borrow::Cow, collections::HashMap, fmt, sync::LazyLock};

use syscost_common::kind::{AbiClass, NR_OUT_OF_RANGE};

/// An ABI by the name its users know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Abi {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86: `int 0x80`, `sysenter`, or a 32-bit program's `syscall`.
    I386,
    /// x86 with 32-bit pointers and 64-bit registers.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm (EABI).
    Arm,
}

/// A system call that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Its ABI.
    pub abi: Abi,
    /// Its number there.
    pub nr: u32,
    /// Its name.
    pub name: &'static str,
    classes: &'static str,
}

impl Syscall {
    /// The names of strace's classes that it is in.
    pub fn classes(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.classes.split(',').filter(|class| *class != "-")
    }
}

impl Abi {
    /// Every ABI.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::I386, Self::X32, Self::Aarch64, Self::Arm];

    /// The ABI that `class` means on the machine this program was built for.
    pub const fn of(class: AbiClass) -> Self {
        match class {
            AbiClass::Native if cfg!(target_arch = "aarch64") => Self::Aarch64,
            AbiClass::Native => Self::X86_64,
            AbiClass::Compat if cfg!(target_arch = "aarch64") => Self::Arm,
            AbiClass::Compat => Self::I386,
            AbiClass::X32 => Self::X32,
        }
    }

    /// Its name, as in the `abi` field of JSON output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::I386 => "i386",
            Self::X32 => "x32",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
        }
    }

    /// Whether it is the one that programs on this machine normally use.
    pub const fn is_native(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By ABI and number.
static SYSCALLS: LazyLock<HashMap<(Abi, u32), Syscall>> = LazyLock::new(|| {
    let lines = include_str!("syscalls.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(parse).map(|call| ((call.abi, call.nr), call)).collect()
});

/// A line of the table.
fn parse(line: &'static str) -> Option<Syscall> {
    let mut columns = line.split('\t');
    let abi = columns.next()?;
    let abi = Abi::ALL.into_iter().find(|known| known.name() == abi)?;
    let nr = columns.next()?.parse().ok()?;
    Some(Syscall { abi, nr, name: columns.next()?, classes: columns.next()? })
}

/// All system calls that have a name, in no particular order.
pub fn all() -> impl Iterator<Item = &'static Syscall> {
    SYSCALLS.values()
}

/// The name of syscall `nr`; `unknown(nr)` where the table has none, and `out-of-range` for the
/// numbers that no table could have.
pub fn name(abi: Abi, nr: u32) -> Cow<'static, str> {
    if nr == NR_OUT_OF_RANGE {
        return Cow::Borrowed("out-of-range");
    }
    match SYSCALLS.get(&(abi, nr)) {
        Some(call) => Cow::Borrowed(call.name),
        None => Cow::Owned(format!("unknown({nr})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_different_calls_in_different_abis() {
        assert_eq!(name(Abi::X86_64, 0), "read");
        assert_eq!(name(Abi::X86_64, 12), "brk");
        assert_eq!(name(Abi::I386, 12), "chdir");
        assert_eq!(name(Abi::I386, 20), "getpid");
        assert_eq!(name(Abi::X32, 512), "rt_sigaction");
        assert_eq!(name(Abi::X32, 0), "read");
        assert_eq!(name(Abi::Aarch64, 63), "read");
        assert_eq!(name(Abi::Arm, 3), "read");
    }

    #[test]
    fn every_line_of_the_table_is_a_call_of_its_own() {
        let lines = || include_str!("syscalls.tsv").lines().filter(|line| !line.starts_with('#'));
        for line in lines() {
            let call = parse(line).unwrap_or_else(|| panic!("no syscall: {line}"));
            assert!(call.nr < NR_OUT_OF_RANGE, "{line}");
        }
        assert_eq!(all().count(), lines().count());
        for abi in Abi::ALL {
            assert!(all().filter(|call| call.abi == abi).count() > 300, "{abi}");
        }
    }

    #[test]
    fn names_are_those_of_the_kernels_headers() {
        // Other sources have the names of the kernel's functions for some of these.
        assert_eq!(name(Abi::I386, 78), "gettimeofday");
        assert_eq!(name(Abi::I386, 265), "clock_gettime");
        assert_eq!(name(Abi::I386, 403), "clock_gettime64");
        assert_eq!(name(Abi::Arm, 270), "arm_fadvise64_64");
        assert_eq!(name(Abi::Aarch64, 79), "newfstatat");
        assert_eq!(name(Abi::X86_64, 134), "uselib");
        assert_eq!(name(Abi::X86_64, 336), "uprobe");
        for abi in Abi::ALL {
            assert_eq!(name(abi, 470), "listns");
        }
    }

    #[test]
    fn numbers_without_a_name_keep_their_number() {
        assert_eq!(name(Abi::X86_64, 999), "unknown(999)");
        assert_eq!(name(Abi::X86_64, NR_OUT_OF_RANGE), "out-of-range");
    }
}
