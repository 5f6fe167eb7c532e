//! Processes and their threads, as `/proc` lists them: which there are, whose children they are, and
//! whether they live.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
};

use anyhow::{Context, Result};

use super::{
    is_own,
    stat::{PF_EXITING, Stat},
};

/// All processes that can be seen.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn pids() -> Result<Vec<u32>> {
    let list = || -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc")? {
            pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(pids)
    };
    list().context("cannot list processes in /proc")
}

/// All processes that can be seen, each with its parent.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn parents() -> Result<Vec<(u32, u32)>> {
    let parent = |pid| Some((pid, Stat::at(&format!("/proc/{pid}/stat"))?.ppid));
    Ok(pids()?.into_iter().filter_map(parent).collect())
}

/// How many living children these processes have that can be seen. Grandchildren and this process do not count.
pub(crate) fn children_of(parents: &[u32]) -> usize {
    if !is_own() {
        return 0;
    }
    let others = pids().unwrap_or_default().into_iter().filter(|pid| *pid != std::process::id());
    others
        .filter_map(|pid| Stat::at(&format!("/proc/{pid}/stat")))
        .filter(|stat| stat.state != 'Z' && parents.contains(&stat.ppid))
        .count()
}

/// The PIDs of the children of process `pid` that its threads list (CONFIG_PROC_CHILDREN). The list has
/// children that `/proc` hides otherwise.
pub(crate) fn children_listed_by(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|pids| {
            pids.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// The path of an open folder, which leads there as long as it is open.
pub(crate) fn within(folder: &File) -> String {
    format!("/proc/self/fd/{}", folder.as_raw_fd())
}

/// Whether a thread of a process has not begun to exit. `folder`: the open folder of the process in `/proc`.
pub(crate) fn lives(folder: &File) -> bool {
    let tasks = format!("{}/task", within(folder));
    let mut seen = BTreeSet::new();
    // Until a look finds no new thread: a thread that has ended since may have made another one.
    loop {
        let mut found = false;
        for task in fs::read_dir(&tasks).into_iter().flatten().flatten() {
            let Some(tid) = task.file_name().to_str().map(str::to_owned) else { continue };
            if let Some(stat) = Stat::at(&format!("{tasks}/{tid}/stat"))
                && stat.flags & PF_EXITING == 0
            {
                return true;
            }
            found |= seen.insert(tid);
        }
        if !found {
            return false;
        }
    }
}

/// Whether the first thread of the process `tgid`, which lives, has begun to exit.
pub(crate) fn leader_has_ended(tgid: u32) -> bool {
    Stat::at(&format!("/proc/{tgid}/task/{tgid}/stat"))
        .is_none_or(|stat| stat.flags & PF_EXITING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_is_its_parents_child() {
        let folder = File::open("/proc/self").unwrap();
        assert!(lives(&folder));
        let stat = Stat::at(&format!("{}/stat", within(&folder))).unwrap();
        assert_eq!(stat.ppid, std::os::unix::process::parent_id());
        assert!(is_own());
        assert!(pids().unwrap().contains(&std::process::id()));
    }

    #[test]
    fn a_zombie_does_not_live() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let folder = File::open(format!("/proc/{}", child.id())).unwrap();
        while lives(&folder) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!lives(&folder));
    }
}
