//! Programs that other users start.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::harness::{Target, syscost_at};

pub(crate) const CAP_PERFMON: u64 = 1 << 38;
pub(crate) const CAP_BPF: u64 = 1 << 39;

/// Copies of the programs in a folder that every user can enter. The clone that the tests are built in
/// need not be one, nor the folder that TMPDIR names.
pub(crate) struct Everybodys {
    pub(crate) folder: TempDir,
}

impl Everybodys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for program in [env!("CARGO_BIN_EXE_syscost"), env!("CARGO_BIN_EXE_syscost-target")] {
            let copy = folder.path().join(Path::new(program).file_name().unwrap());
            fs::copy(program, &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { folder }
    }

    /// syscost, started by whoever runs the tests.
    pub(crate) fn own_syscost(&self) -> Command {
        syscost_at(&self.folder.path().join("syscost"))
    }

    /// syscost, started by `uid` with exactly these capabilities, by way of the ambient set.
    pub(crate) fn syscost(&self, uid: u32, capabilities: u64) -> Command {
        let mut command = self.own_syscost();
        become_user(&mut command, uid, capabilities);
        command
    }

    /// A target that `uid` has started, at "ready".
    pub(crate) fn target(&self, uid: u32, mode: &[&str]) -> Target {
        let mut command = Command::new(self.folder.path().join("syscost-target"));
        become_user(&mut command, uid, 0);
        Target::start_by(&mut command, mode)
    }
}

/// Lets a command start as `uid` with exactly these capabilities.
pub(crate) fn become_user(command: &mut Command, uid: u32, capabilities: u64) {
    // SAFETY: only system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let has = |capability: u32| capabilities & 1 << capability != 0;
            let check = |result: libc::c_long| match result {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            };
            for capability in (0..64).filter(|capability| !has(*capability)) {
                // Those that the kernel does not know cannot be dropped.
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0).into())?;
            check(libc::setgroups(0, std::ptr::null()).into())?;
            check(libc::setresgid(uid, uid, uid).into())?;
            check(libc::setresuid(uid, uid, uid).into())?;
            // _LINUX_CAPABILITY_VERSION_3 of this thread; effective, permitted, inheritable, twice.
            let header = [0x2008_0522_u32, 0];
            let (low, high) = (capabilities as u32, (capabilities >> 32) as u32);
            let data = [low, low, low, high, high, high];
            check(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()))?;
            for capability in (0..64).filter(|capability| has(*capability)) {
                let raise = libc::PR_CAP_AMBIENT_RAISE;
                check(libc::prctl(libc::PR_CAP_AMBIENT, raise, capability, 0, 0).into())?;
            }
            Ok(())
        });
    }
}
