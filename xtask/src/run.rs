//! Builds syscost and starts it as root.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::sh::{self, Privilege};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The arguments of syscost, after --
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Replaces this process by syscost; without arguments, starts a demo process and traces that.
pub(crate) fn run(Args { args }: &Args) -> Result<ExitCode> {
    let privilege = sh::privilege();
    if privilege == Privilege::None {
        bail!("syscost loads programs into the kernel: run this as root, or install sudo");
    }
    sh::run(sh::cargo().args(["build", "--release", "--package", "syscost"]))?;
    let syscost = sh::target_dir()?.join("release/syscost");
    let mut tracer = sh::as_root(privilege, &syscost);
    if !args.is_empty() {
        // Replaced by syscost, this process leaves it signals, terminal and exit code.
        return Err(tracer.args(args).exec()).context("cannot start syscost");
    }
    let mut demo = Command::new(&syscost);
    demo.arg("demo").stdin(Stdio::null()).stdout(Stdio::null());
    let demo = Demo::start(demo)?;
    outlive_keyboard_signals();
    let status = sh::status(tracer.arg("-p").arg(demo.0.id().to_string()))?;
    Ok(sh::exit_code(status))
}

/// The demo process. It is ended when this value is dropped.
struct Demo(Child);

impl Demo {
    fn start(mut command: Command) -> Result<Demo> {
        // In a process group of its own: Ctrl-C must end syscost, and not its target before.
        command.process_group(0);
        // SAFETY: prctl is a plain system call, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // Should xtask be killed, the demo still ends.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        command.spawn().map(Demo).context("cannot start `syscost demo`")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let group = -i32::try_from(self.0.id()).unwrap_or(i32::MAX);
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            // SAFETY: the group is our child's; as it is not yet waited for, its id is not reused.
            unsafe { libc::kill(group, signal) };
            for _ in 0..50 {
                if !matches!(self.0.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Ignores Ctrl-C and the like in this process. The terminal sends them to syscost as well, which acts on them.
fn outlive_keyboard_signals() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // A handler instead of SIG_IGN, because a child would inherit SIG_IGN.
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        let handler = nothing as extern "C" fn(libc::c_int);
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}
