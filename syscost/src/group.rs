//! What calls are counted by. Knows no row and no column.

/// What a row of the output stands for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// A syscall of an ABI.
    #[default]
    Syscall,
    /// A process with all its threads.
    Process,
    /// A thread.
    Thread,
    /// A cgroup.
    Cgroup,
    /// All processes of one name.
    Comm,
}

impl GroupBy {
    /// All of them, in the order the help shows.
    pub const ALL: [Self; 5] =
        [Self::Syscall, Self::Process, Self::Thread, Self::Cgroup, Self::Comm];

    /// Its name on the command line and in machine-readable output.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Process => "process",
            Self::Thread => "thread",
            Self::Cgroup => "cgroup",
            Self::Comm => "comm",
        }
    }

    /// The heading of its column.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Syscall => "SYSCALL",
            Self::Process => "    PID COMM",
            Self::Thread => "    TID COMM",
            Self::Cgroup => "CGROUP",
            Self::Comm => "COMM",
        }
    }

    /// The one called `id`.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_the_group() {
        for group in GroupBy::ALL {
            assert_eq!(GroupBy::from_id(group.id()), Some(group));
        }
        assert_eq!(GroupBy::from_id("pid"), None);
        assert_eq!(GroupBy::default(), GroupBy::Syscall);
    }
}
