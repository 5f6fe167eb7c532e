//! A process that has had capabilities is not to be taken over by other processes of its user: neither
//! its memory, which holds kernel addresses, nor its maps, programs and links.

use std::{
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    harness::{Stat, Target, assert_nothing_left, hooks, run, skipped},
    privileges::NOBODY,
    running::{Running, status},
    users::{CAP_BPF, CAP_PERFMON, Everybodys},
};

/// What `setcap CAPABILITIES+ep` does (`struct vfs_cap_data`, include/uapi/linux/capability.h).
fn set_capabilities(program: &Path, capabilities: u64) -> io::Result<()> {
    // VFS_CAP_REVISION_2 and VFS_CAP_FLAGS_EFFECTIVE.
    let (version, inheritable) = (0x0200_0001_u32, 0_u32);
    let (low, high) = (capabilities as u32, (capabilities >> 32) as u32);
    let words = [version, low, inheritable, high, inheritable];
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let path = CString::new(program.as_os_str().as_bytes())?;
    let name = c"security.capability";
    // SAFETY: both strings end with NUL, and the kernel reads as many bytes as there are.
    let set = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), bytes.as_ptr().cast(), bytes.len(), 0)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Programs of which syscost has file capabilities; `None` where files cannot have them.
fn privileged_copy() -> Option<Everybodys> {
    let everybodys = Everybodys::new();
    let program = everybodys.folder.path().join("syscost");
    if let Err(error) = set_capabilities(&program, CAP_BPF | CAP_PERFMON) {
        skipped(&format!("files have no capabilities here: {error}"));
        return None;
    }
    Some(everybodys)
}

/// The ways to start it with capabilities: from the file, by a user who has none; and by a user who
/// has them and hands them on. Only the first makes the kernel itself keep others out, and only where
/// `fs.suid_dumpable` is not 1.
fn ways(everybodys: &Everybodys) -> [Command; 2] {
    let mut from_file = Command::new(everybodys.folder.path().join("syscost"));
    from_file.uid(NOBODY).gid(NOBODY);
    [from_file, everybodys.syscost(NOBODY, CAP_BPF | CAP_PERFMON)]
}

/// Another program of the same user, at "ready", which tries to take over the process `pid`.
fn thief(everybodys: &Everybodys, pid: u32) -> Target {
    everybodys.target(NOBODY, &["steal", &pid.to_string()])
}

#[test]
fn memory_and_descriptors_are_kept_from_others_of_the_same_user() {
    let Some(everybodys) = privileged_copy() else { return };
    for hooks in hooks().into_iter().filter(|hooks| hooks != "perf") {
        for mut syscost in ways(&everybodys) {
            let mut target = everybodys.target(0, &["calls", "4", "1000"]);
            let stat = Stat::attach_by(&mut syscost, target.pid(), &["--hooks", &hooks]);
            assert_nothing_left(stat.pid());
            let mut thief = thief(&everybodys, stat.pid().as_raw() as u32);
            assert_eq!(thief.line(), "tried");
            target.work();
            let measured = stat.stop();
            assert_eq!(thief.line(), "nothing", "{hooks}");
            measured.assert_exact();
            assert_eq!(measured.count("getppid"), 4_000, "{hooks}");
            assert_eq!(measured.0["threads"], 1, "/proc is read as before");
        }
    }
}

#[test]
fn nothing_can_be_taken_while_it_starts() {
    let Some(everybodys) = privileged_copy() else { return };
    for _ in 0..5 {
        for mut syscost in ways(&everybodys) {
            syscost
                .args(["stat", "-a", "-d", "50ms"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let mut syscost = Running::start(&mut syscost);
            let mut thief = thief(&everybodys, syscost.pid());
            let status = syscost.wait();
            assert!(status.success(), "{status}");
            let mut said = thief.line();
            if said == "tried" {
                said = thief.line();
            }
            assert_eq!(said, "nothing");
        }
    }
}

#[test]
fn what_it_needs_of_proc_is_there_for_every_user() {
    let Some(everybodys) = privileged_copy() else { return };
    for mut syscost in ways(&everybodys) {
        let path = everybodys.folder.path().join("out");
        let out = fs::File::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        // A link into its own descriptors.
        syscost.args(["stat", "-a", "-d", "10ms", "--json", "-o", "/dev/stdout"]);
        let status = status(syscost.stdout(out));
        assert!(status.success(), "{status}");
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.starts_with("{\"schema\""), "{written}");
    }
    for mut syscost in ways(&everybodys) {
        let report = run(syscost.arg("check"));
        assert_eq!(report.status.code(), Some(0), "{}", report.stdout);
        assert!(report.stdout.contains("100 of 100 calls"), "{}", report.stdout);
    }
}

#[test]
fn a_command_is_as_open_to_its_user_as_without_syscost() {
    let Some(everybodys) = privileged_copy() else { return };
    let target = everybodys.folder.path().join("syscost-target");
    for mut syscost in ways(&everybodys) {
        let ended =
            run(syscost.args(["stat", "-o", "/dev/null", "--"]).arg(&target).arg("dumpable"));
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, "1\n");
    }
}
