//! CPUs that go away and come back.

use std::{fs, path::Path};

use crate::harness::{Stat, Target, emulated, hooks, skipped};

/// The switch of a CPU that is not the only one.
const SWITCH: &str = "/sys/devices/system/cpu/cpu1/online";

/// A CPU that can be switched off; it is on again when this is dropped.
struct Cpu;

impl Cpu {
    /// `None`: this machine has no such CPU, or does not let it go.
    fn find() -> Option<Self> {
        if emulated() || !Path::new(SWITCH).exists() {
            return None;
        }
        let cpu = Self;
        fs::write(SWITCH, "0").ok()?;
        cpu.on();
        Some(cpu)
    }

    fn on(&self) {
        fs::write(SWITCH, "1").expect("it comes back");
    }

    fn off(&self) {
        // A kernel thread may be bound to it for a moment.
        let gone = (0..100).any(|_| fs::write(SWITCH, "0").is_ok());
        assert!(gone, "it does not go");
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, "1");
    }
}

#[test]
fn cpus_that_come_and_go_lose_nothing() {
    const THREADS: u64 = 4;
    const CALLS: u64 = 200_000;
    let Some(cpu) = Cpu::find() else {
        return skipped("no CPU can be switched off");
    };
    for hooks in hooks() {
        let mut target = Target::start(&["calls", &THREADS.to_string(), &CALLS.to_string()]);
        cpu.off();
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        cpu.on();
        target.begin();
        for _ in 0..3 {
            cpu.off();
            cpu.on();
        }
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), THREADS * CALLS, "{hooks}");
        assert_eq!(measured.count("getpgid"), THREADS * CALLS / 10, "{hooks}");
    }
}
