//! What a file descriptor refers to: found in the helper, written as text in the main process.
//!
//! The helper takes a copy of the descriptor (pidfd_getfd(2)), looks at it, and closes it. That takes
//! CAP_SYS_PTRACE and nothing else; to list `/proc/PID/fd` of another user takes CAP_DAC_READ_SEARCH as well.

use std::net::SocketAddr;

use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{FileType, Stat, fstat, readlinkat_raw},
    io::Errno,
    net::{SocketAddrAny, SocketAddrUnix, getpeername, getsockname, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use serde::{Deserialize, Serialize};

use super::{helper::Proc, message::Reason, process::Process};
use crate::decode::printable::external;

/// What a file descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// What has a path: a file, a directory, a device, a named pipe.
    File {
        /// The path, bytes as the kernel has them.
        path: Vec<u8>,
        /// Whether the last path to it has been removed. A file that has lost this path and has another one
        /// is not known as such: its path ends in ` (deleted)`, as names may.
        deleted: bool,
        /// What kind of file it is.
        kind: FileKind,
    },
    /// A pipe without a name.
    Pipe {
        /// Its inode number, which both ends have.
        ino: u64,
    },
    /// A socket.
    Socket(Socket),
    /// What the kernel has made without a file: `eventpoll`, `eventfd`, `timerfd`, …
    Anonymous {
        /// The kernel's name for it, without brackets.
        kind: Vec<u8>,
    },
    /// Something else, as the kernel writes it: `net:[4026531840]`.
    Other {
        /// The text, bytes as the kernel has them.
        text: Vec<u8>,
    },
}

/// A kind of file that has a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// Any other.
    Other,
}

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Its inode number.
    pub ino: u64,
    /// Its family, `AF_…`.
    pub family: u16,
    /// Its type, `SOCK_…`.
    pub kind: u32,
    /// Its protocol, `IPPROTO_…` for internet families; 0 for the family's usual one.
    pub protocol: u32,
    /// Whether it accepts connections.
    pub listening: bool,
    /// Its own address; `None` where it has none, or one of a family that is not known here.
    pub local: Option<Address>,
    /// The address of the other end, of a connected socket.
    pub peer: Option<Address>,
}

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// An IPv4 or IPv6 address with a port.
    Inet(SocketAddr),
    /// The path of a Unix socket.
    Unix(Vec<u8>),
    /// The name of a Unix socket that has no file.
    Abstract(Vec<u8>),
}

/// Finds out what descriptor `fd` of a process refers to.
///
/// # Errors
/// Why that cannot be known.
pub(super) fn find(proc: &Proc, of: Process, fd: u32) -> Result<Object, Reason> {
    let pid = i32::try_from(of.pid).ok().and_then(Pid::from_raw).ok_or(Reason::Gone)?;
    let held = pidfd_open(pid, PidfdFlags::empty()).map_err(of_process)?;
    // Checked once the process is held: were it another one, so was it when the pidfd was opened.
    proc.confirm(of)?;
    let fd = i32::try_from(fd).map_err(|_| Reason::NotOpen)?;
    let copy = pidfd_getfd(&held, fd, PidfdGetfdFlags::empty()).map_err(|errno| match errno {
        Errno::BADF => Reason::NotOpen,
        errno => of_process(errno),
    })?;
    look_at(proc.own_fds, copy.as_fd())
}

/// The reason that an error about a process stands for.
pub(super) fn of_process(errno: Errno) -> Reason {
    match errno {
        Errno::SRCH | Errno::NOENT => Reason::Gone,
        Errno::PERM | Errno::ACCESS => Reason::NotPermitted,
        Errno::NAMETOOLONG => Reason::TooLong,
        errno => Reason::Failed(errno.raw_os_error()),
    }
}

fn look_at(own_fds: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<Object, Reason> {
    let stat = fstat(fd).map_err(of_process)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Socket {
        return Ok(Object::Socket(socket(fd, stat.st_ino)));
    }
    let mut text = vec![0; 4096];
    let number = std::os::fd::AsRawFd::as_raw_fd(&fd).to_string();
    let length = readlinkat_raw(own_fds, number, text.as_mut_slice()).map_err(of_process)?;
    text.truncate(length);
    Ok(named(text, kind, &stat))
}

/// The object whose link in `/proc/PID/fd` reads `text`.
fn named(mut text: Vec<u8>, kind: FileType, stat: &Stat) -> Object {
    if text.first() == Some(&b'/') {
        let deleted = stat.st_nlink == 0;
        if deleted {
            cut_deleted(&mut text);
        }
        let kind = match kind {
            FileType::RegularFile => FileKind::Regular,
            FileType::Directory => FileKind::Directory,
            FileType::CharacterDevice => FileKind::CharacterDevice,
            FileType::BlockDevice => FileKind::BlockDevice,
            FileType::Fifo => FileKind::Fifo,
            _ => FileKind::Other,
        };
        return Object::File { path: text, deleted, kind };
    }
    if kind == FileType::Fifo {
        return Object::Pipe { ino: stat.st_ino };
    }
    match text.strip_prefix(b"anon_inode:") {
        Some(kind) => {
            let inner = kind.strip_prefix(b"[").and_then(|kind| kind.strip_suffix(b"]"));
            Object::Anonymous { kind: inner.unwrap_or(kind).to_vec() }
        }
        None => Object::Other { text },
    }
}

/// Removes what the kernel adds to a path that is gone (`d_path`). Whether it was there.
pub(super) fn cut_deleted(path: &mut Vec<u8>) -> bool {
    let Some(rest) = path.strip_suffix(b" (deleted)") else { return false };
    path.truncate(rest.len());
    true
}

fn socket(fd: BorrowedFd<'_>, ino: u64) -> Socket {
    let protocol = sockopt::socket_protocol(fd).ok().flatten();
    Socket {
        ino,
        family: sockopt::socket_domain(fd).map_or(0, |family| family.as_raw()),
        kind: sockopt::socket_type(fd).map_or(0, |kind| kind.as_raw()),
        protocol: protocol.map_or(0, |protocol| protocol.as_raw().get()),
        listening: sockopt::socket_acceptconn(fd).unwrap_or(false),
        local: getsockname(fd).ok().and_then(address),
        peer: getpeername(fd).ok().flatten().and_then(address),
    }
}

fn address(address: SocketAddrAny) -> Option<Address> {
    if let Ok(inet) = SocketAddr::try_from(address.clone()) {
        return Some(Address::Inet(inet));
    }
    let unix = SocketAddrUnix::try_from(address).ok()?;
    let path = unix.path_bytes().map(|path| Address::Unix(path.to_vec()));
    // Without a name it is empty.
    let name = || unix.abstract_name().filter(|name| !name.is_empty());
    path.or_else(|| name().map(|name| Address::Abstract(name.to_vec())))
}

impl Object {
    /// What it is, printable, in the words of `strace -yy`.
    pub fn text(&self) -> String {
        match self {
            Self::File { path, deleted: false, .. } => external(path),
            Self::File { path, deleted: true, .. } => format!("{} (deleted)", external(path)),
            Self::Pipe { ino } => format!("pipe:[{ino}]"),
            Self::Socket(socket) => socket.text(),
            Self::Anonymous { kind } => format!("anon_inode:[{}]", external(kind)),
            Self::Other { text } => external(text),
        }
    }
}

impl Socket {
    fn text(&self) -> String {
        let kind = kind_name(self.family, self.kind, self.protocol);
        let ends = match (&self.local, &self.peer) {
            (Some(local), Some(peer)) => format!("{}->{}", local.text(), peer.text()),
            (Some(local), None) => local.text(),
            // The peer of a Unix socket has the name, if only one of the two has.
            (None, Some(peer)) => format!("{}->{}", self.ino, peer.text()),
            (None, None) => self.ino.to_string(),
        };
        format!("{kind}:[{ends}]")
    }
}

impl Address {
    fn text(&self) -> String {
        match self {
            Self::Inet(address) => address.to_string(),
            Self::Unix(path) => external(path),
            Self::Abstract(name) => format!("@{}", external(name)),
        }
    }
}

/// What a socket of this family, type and protocol is called; `socket` where there is no short name.
fn kind_name(family: u16, kind: u32, protocol: u32) -> &'static str {
    let kind = kind as i32;
    match (i32::from(family), kind, protocol as i32) {
        (libc::AF_INET | libc::AF_INET6, _, libc::IPPROTO_TCP) => "TCP",
        (libc::AF_INET | libc::AF_INET6, _, libc::IPPROTO_UDP) => "UDP",
        (libc::AF_INET | libc::AF_INET6, _, libc::IPPROTO_SCTP) => "SCTP",
        (libc::AF_INET | libc::AF_INET6, _, libc::IPPROTO_MPTCP) => "MPTCP",
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_RAW, _) => "RAW",
        (libc::AF_UNIX, libc::SOCK_STREAM, _) => "UNIX-STREAM",
        (libc::AF_UNIX, libc::SOCK_DGRAM, _) => "UNIX-DGRAM",
        (libc::AF_UNIX, libc::SOCK_SEQPACKET, _) => "UNIX-SEQPACKET",
        (libc::AF_NETLINK, ..) => "NETLINK",
        (libc::AF_PACKET, ..) => "PACKET",
        _ => "socket",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::pipe,
        net::{TcpListener, TcpStream},
        os::{
            fd::AsRawFd,
            unix::net::{UnixListener, UnixStream},
        },
    };

    use super::*;

    /// What a descriptor of this process is, looked at as the helper does with its copy.
    fn of(fd: impl AsFd) -> Object {
        let own_fds = File::open("/proc/self/fd").unwrap();
        look_at(own_fds.as_fd(), fd.as_fd()).unwrap()
    }

    fn ino(fd: impl AsFd) -> u64 {
        fstat(fd).unwrap().st_ino
    }

    #[test]
    fn files_have_paths_and_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a\n\u{202e}\\b");
        let file = File::create(&path).unwrap();
        let bytes = path.as_os_str().as_encoded_bytes().to_vec();
        let kind = FileKind::Regular;
        assert_eq!(of(&file), Object::File { path: bytes.clone(), deleted: false, kind });
        let text = of(&file).text();
        assert!(text.ends_with("a\\n\\u{202e}\\\\b"), "{text}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(of(&file), Object::File { path: bytes, deleted: true, kind });
        assert_eq!(of(&file).text(), format!("{text} (deleted)"));

        let null = File::open("/dev/null").unwrap();
        let kind = FileKind::CharacterDevice;
        assert_eq!(of(null), Object::File { path: b"/dev/null".into(), deleted: false, kind });
        let root = File::open("/").unwrap();
        let kind = FileKind::Directory;
        assert_eq!(of(root), Object::File { path: b"/".into(), deleted: false, kind });
    }

    #[test]
    fn a_file_may_be_called_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x (deleted)");
        let file = File::create(&path).unwrap();
        let bytes = path.as_os_str().as_encoded_bytes().to_vec();
        let kind = FileKind::Regular;
        assert_eq!(of(&file), Object::File { path: bytes.clone(), deleted: false, kind });
        // Of two names, the other one is removed.
        let other = folder.path().join("y");
        std::fs::hard_link(&path, &other).unwrap();
        let by_other = File::open(&other).unwrap();
        std::fs::remove_file(&other).unwrap();
        let path = [other.as_os_str().as_encoded_bytes(), b" (deleted)"].concat();
        assert_eq!(of(&by_other), Object::File { path, deleted: false, kind });
    }

    #[test]
    fn pipes_have_one_number_for_both_ends() {
        let (reader, writer) = pipe().unwrap();
        let object = Object::Pipe { ino: ino(&reader) };
        assert_eq!(object.text(), format!("pipe:[{}]", ino(&writer)));
        assert_eq!([of(&reader), of(&writer)], [object.clone(), object]);
    }

    #[test]
    fn anonymous_files_have_their_kind() {
        // SAFETY: takes an integer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        // SAFETY: just opened, and closed by nothing else.
        let epoll: std::os::fd::OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(epoll) };
        assert_eq!(of(&epoll), Object::Anonymous { kind: b"eventpoll".into() });
        assert_eq!(of(&epoll).text(), "anon_inode:[eventpoll]");
    }

    #[test]
    fn what_is_none_of_these_is_what_the_kernel_writes() {
        let namespace = File::open("/proc/self/ns/net").unwrap();
        let text = format!("net:[{}]", ino(&namespace));
        assert_eq!(of(namespace), Object::Other { text: text.into_bytes() });
    }

    #[test]
    fn internet_sockets_have_their_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let client = TcpStream::connect(at).unwrap();
        let from = client.local_addr().unwrap();
        let (family, kind) = (libc::AF_INET as u16, libc::SOCK_STREAM as u32);
        let socket = |ino, listening, local, peer: Option<SocketAddr>| {
            let (local, peer) = (Some(Address::Inet(local)), peer.map(Address::Inet));
            let protocol = libc::IPPROTO_TCP as u32;
            Object::Socket(Socket { ino, family, kind, protocol, listening, local, peer })
        };
        assert_eq!(of(&listener), socket(ino(&listener), true, at, None));
        assert_eq!(of(&client), socket(ino(&client), false, from, Some(at)));
        assert_eq!(of(&listener).text(), format!("TCP:[{at}]"));
        assert_eq!(of(&client).text(), format!("TCP:[{from}->{at}]"));
    }

    #[test]
    fn unix_sockets_have_the_name_that_one_end_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let shown = path.to_str().unwrap();
        assert_eq!(of(&listener).text(), format!("UNIX-STREAM:[{shown}]"));
        assert_eq!(of(&client).text(), format!("UNIX-STREAM:[{}->{shown}]", ino(&client)));
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(of(&one).text(), format!("UNIX-STREAM:[{}]", ino(&one)));
    }

    #[test]
    fn descriptors_are_asked_of_the_process_that_is_meant() {
        let proc = File::open("/proc").unwrap();
        let own_fds = File::open("/proc/self/fd").unwrap();
        let proc = Proc { proc: proc.as_fd(), own_fds: own_fds.as_fd() };
        let own = Process::now(std::process::id()).unwrap();
        let (reader, _writer) = pipe().unwrap();
        let fd = reader.as_raw_fd() as u32;
        let asked = find(&proc, own, fd);
        // Nobody else may take descriptors of a test that is not dumpable; its own it may.
        assert_eq!(asked, Ok(Object::Pipe { ino: ino(&reader) }));
        let earlier = Process { started_ticks: own.started_ticks + 1, ..own };
        assert_eq!(find(&proc, earlier, fd), Err(Reason::Gone));
        for pid in [0, u32::MAX, i32::MAX as u32] {
            assert_eq!(find(&proc, Process { pid, ..own }, fd), Err(Reason::Gone));
        }
        for fd in [u32::MAX, i32::MAX as u32] {
            assert_eq!(find(&proc, own, fd), Err(Reason::NotOpen));
        }
    }
}
