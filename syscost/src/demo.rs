//! The demonstration workload: threads that read, write, sleep, wait and fail in known ways.
//!
//! It is busy enough to fill a screen and idle enough to be left running.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent},
    prctl,
};

use crate::message;

/// Runs for `duration`, or until it is killed.
pub fn run(duration: Option<Duration>) -> Result<()> {
    // A name of its own, to tell it from the tracer in `ps` and on the screen.
    prctl::set_name(c"syscost-demo").context("cannot rename the process")?;
    let pid = std::process::id();
    message::print(&format!("syscost demo: pid {pid}; watch it with `syscost -p {pid}`\n"))?;
    let mut zero = File::open("/dev/zero").context("cannot open /dev/zero")?;
    let mut null = File::create("/dev/null").context("cannot open /dev/null")?;
    let (empty, _kept_open) = nix::unistd::pipe().context("cannot make a pipe")?;
    set_nonblocking(&empty)?;
    let epoll = Epoll::new(EpollCreateFlags::empty()).context("cannot make an epoll instance")?;

    // Small reads and a large one: two peaks in one histogram.
    spawn("reader", move || {
        let mut buffer = vec![0; 256 * 1024];
        for _ in 0..40 {
            let _ = zero.read(&mut buffer[..64]);
        }
        let _ = zero.read(&mut buffer);
        thread::sleep(Duration::from_millis(2));
    })?;
    // One byte at a time: calls that buffering would save.
    spawn("writer", move || {
        for _ in 0..60 {
            let _ = null.write(b".");
        }
        thread::sleep(Duration::from_millis(5));
    })?;
    // Fails on purpose: nothing to read (EAGAIN), nothing to open (ENOENT).
    spawn("prober", move || {
        let mut byte = [0];
        for _ in 0..10 {
            let _ = nix::unistd::read(&empty, &mut byte);
        }
        let _ = File::open("/nonexistent/syscost.conf");
        let _ = std::fs::metadata("/etc");
        thread::sleep(Duration::from_millis(10));
    })?;
    spawn("poller", move || {
        let _ = epoll.wait(&mut [EpollEvent::empty()], 25u16);
    })?;
    let baton = Arc::new((Mutex::new(0u64), Condvar::new()));
    let other = Arc::clone(&baton);
    spawn("waiter", move || {
        let (turn, changed) = &*other;
        let turn = turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(changed.wait_timeout(turn, Duration::from_secs(1)));
    })?;
    spawn("waker", move || {
        let (turn, changed) = &*baton;
        *turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        changed.notify_all();
        thread::sleep(Duration::from_millis(7));
    })?;

    let end = duration.map(|duration| Instant::now() + duration);
    loop {
        match end.map(|end| end.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return Ok(()),
            Some(left) => thread::sleep(left),
            None => thread::park(),
        }
    }
}

fn spawn(name: &str, mut round: impl FnMut() + Send + 'static) -> Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            loop {
                round();
            }
        })
        .with_context(|| format!("cannot start the thread {name}"))?;
    Ok(())
}

fn set_nonblocking(fd: &impl AsRawFd) -> Result<()> {
    // SAFETY: sets a flag of a descriptor that the caller keeps open.
    nix::errno::Errno::result(unsafe {
        libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK)
    })
    .context("cannot make a pipe non-blocking")?;
    Ok(())
}
