//! Syscall names per ABI.

use std::{borrow::Cow, fmt};

use syscall_numbers as table;
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

impl Abi {
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

/// The name of syscall `nr`; `unknown(nr)` where the tables have none, and `out-of-range` for the
/// numbers that no table could have.
pub fn name(abi: Abi, nr: u32) -> Cow<'static, str> {
    if nr == NR_OUT_OF_RANGE {
        return Cow::Borrowed("out-of-range");
    }
    let number = nr.into();
    let known = corrected(abi, nr).or_else(|| match abi {
        Abi::X86_64 => table::x86_64::sys_call_name(number),
        Abi::I386 => table::x86::sys_call_name(number),
        // x32 shares x86-64's numbers and adds its own from 512 on; its table counts with bit 30.
        Abi::X32 => table::x32::sys_call_name(number)
            .or_else(|| table::x32::sys_call_name(number | 0x4000_0000)),
        Abi::Aarch64 => table::aarch64::sys_call_name(number),
        Abi::Arm => table::arm::sys_call_name(number),
    });
    match known {
        Some(name) if !name.is_empty() => Cow::Borrowed(name),
        _ => Cow::Owned(format!("unknown({nr})")),
    }
}

/// What the crate's tables lack or call by the name of the kernel's function. The right ones:
/// arch/x86/entry/syscalls/syscall_32.tbl and arch/arm/tools/syscall.tbl in the kernel's tree, as
/// the headers for user space have them.
fn corrected(abi: Abi, nr: u32) -> Option<&'static str> {
    Some(match (abi, nr) {
        (Abi::I386, 76) => "getrlimit",
        (Abi::I386 | Abi::Arm, 78) => "gettimeofday",
        (Abi::I386 | Abi::Arm, 79) => "settimeofday",
        (Abi::I386, 260) | (Abi::Arm, 258) => "timer_settime",
        (Abi::I386, 261) | (Abi::Arm, 259) => "timer_gettime",
        (Abi::I386, 262) => "timer_getoverrun",
        (Abi::I386, 263) => "timer_delete",
        (Abi::I386, 264) | (Abi::Arm, 262) => "clock_settime",
        (Abi::I386, 265) | (Abi::Arm, 263) => "clock_gettime",
        (Abi::I386, 266) | (Abi::Arm, 264) => "clock_getres",
        (Abi::I386, 267) | (Abi::Arm, 265) => "clock_nanosleep",
        // Its arguments are in another order than those of fadvise64_64.
        (Abi::Arm, 270) => "arm_fadvise64_64",
        (Abi::I386, 278) => "mq_unlink",
        (Abi::I386, 279) => "mq_timedsend",
        (Abi::I386, 280) => "mq_timedreceive",
        (Abi::I386, 281) => "mq_notify",
        (Abi::I386, 282) => "mq_getsetattr",
        (Abi::I386, 325) | (Abi::Arm, 353) => "timerfd_settime",
        (Abi::I386, 326) | (Abi::Arm, 354) => "timerfd_gettime",
        _ => return None,
    })
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
    fn names_are_those_of_the_kernels_headers() {
        const ABIS: [Abi; 5] = [Abi::X86_64, Abi::I386, Abi::X32, Abi::Aarch64, Abi::Arm];
        let mut tested = [0; ABIS.len()];
        let lines = include_str!("syscalls.tsv").lines().filter(|line| !line.starts_with('#'));
        let mut wrong = Vec::new();
        for line in lines {
            let [abi, number, called] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("three columns: {line}");
            };
            let index = ABIS.iter().position(|known| known.name() == abi).expect("a known ABI");
            let named = name(ABIS[index], number.parse().expect("a number"));
            if named != called {
                wrong.push(format!("{abi} {number} is {called}, not {named}"));
            }
            tested[index] += 1;
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(tested.iter().all(|tested| *tested > 300), "{tested:?}");
    }

    #[test]
    fn numbers_without_a_name_keep_their_number() {
        assert_eq!(name(Abi::X86_64, 999), "unknown(999)");
        assert_eq!(name(Abi::X86_64, NR_OUT_OF_RANGE), "out-of-range");
    }
}
