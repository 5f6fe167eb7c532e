//! Threads that go from CPU to CPU, in their calls and between them.

use std::time::Duration;

use crate::{
    done, getppid,
    parts::{
        Which::{First, Last},
        Zeros, pin, pipe, read_byte, spawn, wait_until_in, write_byte,
    },
    ready, wait_for_line,
};

/// `times` calls on each of two CPUs, each after a call that came in on the other one.
pub(crate) fn hop(times: u64) {
    pin(First);
    ready();
    for _ in 0..times {
        pin(Last);
        getppid();
        pin(First);
        getppid();
    }
    done();
}

/// `rounds` times, when it is told to: a thread makes one long call that waits for nothing. When this
/// one is told to go on, it makes `times` short ones, on the CPU where that thread came in.
pub(crate) fn moved(rounds: u64, times: u64) {
    pin(Last);
    for _ in 0..rounds {
        let begin = pipe();
        // It inherits the CPU.
        let reader = spawn(move || {
            let zeros = Zeros::of(Duration::from_secs(1));
            read_byte(begin.0);
            zeros.read();
        });
        wait_until_in(reader, libc::SYS_read);
        ready();
        write_byte(begin.1);
        ready();
        (0..times).for_each(|_| getppid());
        done();
        // The next reader makes calls of its own before it is ready.
        wait_for_line();
    }
}
