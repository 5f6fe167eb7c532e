//! The machines that are emulated.

/// A kind of processor. Each method gives the name that another program uses for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    /// In the names of Debian's packages.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As a target of rustc.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The program of its emulator.
    pub(crate) const fn qemu(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// The Debian package of its emulator.
    pub(crate) const fn qemu_package(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86",
            Self::Arm64 => "qemu-system-arm",
        }
    }

    /// The options of the emulator for board and processor.
    pub(crate) const fn machine(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 => &["-cpu", "max"],
            // By default, the signing of pointers takes most of the emulator's time.
            Self::Arm64 => &["-M", "virt", "-cpu", "max,pauth-impdef=on"],
        }
    }

    /// For the kernel.
    pub(super) const fn kernel_args(self) -> &'static str {
        match self {
            // Otherwise the kernel panics where the timer does not tick in time, as on a machine with much else to do.
            Self::Amd64 => " no_timer_check",
            Self::Arm64 => "",
        }
    }

    /// The kernel's name of the first serial line.
    pub(crate) const fn console(self) -> &'static str {
        match self {
            Self::Amd64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }
}
