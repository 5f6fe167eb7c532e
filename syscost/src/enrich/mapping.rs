//! What is mapped at an address: found in the helper, written as text in the main process.
//!
//! From Linux 6.11 on, the kernel looks one address up (`PROCMAP_QUERY`). Before that, all of
//! `/proc/PID/maps` is read up to the address.

use std::io::{self, BufRead, BufReader, Read};

use rustix::{
    fd::{AsFd, BorrowedFd},
    io::{Errno, pread},
    ioctl::{Updater, ioctl},
};
use serde::{Deserialize, Serialize};

use super::{
    helper::Proc,
    message::Reason,
    object::{cut_deleted, of_process},
    process::Process,
};
use crate::decode::printable::external;

/// The part of an address space that holds an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Where the address lies in the file, bytes; 0 where no file is mapped.
    pub offset: u64,
    /// What is mapped there.
    pub backing: Backing,
}

/// What a mapping shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backing {
    /// A file.
    File {
        /// Its path, bytes as the kernel has them.
        path: Vec<u8>,
        /// Whether the path no longer leads to it, or ends in ` (deleted)` by itself.
        deleted: bool,
        /// The build id of its ELF notes; empty where there is none, and before Linux 6.11.
        build_id: Vec<u8>,
    },
    /// What the kernel gives a name in brackets, with them: `[heap]`, `[stack]`, `[vdso]`, `[anon:…]`.
    Special(Vec<u8>),
    /// Memory without a name.
    Anonymous,
}

impl Mapping {
    fn new(name: &[u8], offset: u64, build_id: &[u8]) -> Self {
        let backing = match name.first() {
            None => return Self { offset: 0, backing: Backing::Anonymous },
            Some(b'[') => return Self { offset: 0, backing: Backing::Special(name.to_vec()) },
            Some(_) => {
                let mut path = name.to_vec();
                let deleted = cut_deleted(&mut path);
                Backing::File { path, deleted, build_id: build_id.to_vec() }
            }
        };
        Self { offset, backing }
    }

    /// What it is, printable: `/usr/lib/libc.so.6+0x1234`.
    pub fn text(&self) -> String {
        match &self.backing {
            Backing::File { path, deleted, .. } => {
                let deleted = if *deleted { " (deleted)" } else { "" };
                format!("{}{deleted}+{:#x}", external(path), self.offset)
            }
            Backing::Special(name) => external(name),
            Backing::Anonymous => "anonymous memory".to_owned(),
        }
    }
}

/// Finds out what a process has mapped at `address`.
///
/// # Errors
/// Why that cannot be known.
pub(super) fn find(proc: &Proc, of: Process, address: u64) -> Result<Mapping, Reason> {
    let maps = proc.open(of.pid, "maps").map_err(of_process)?;
    // Checked once the file is open: were it another process, so was it when the file was opened.
    proc.confirm(of)?;
    match query(maps.as_fd(), address) {
        // Before Linux 6.11.
        Err(Errno::NOTTY | Errno::INVAL) => read(maps.as_fd(), address),
        Err(Errno::NOENT) => Err(Reason::NotMapped),
        Err(errno) => Err(of_process(errno)),
        Ok(mapping) => Ok(mapping),
    }
}

/// `struct procmap_query` (include/uapi/linux/fs.h).
#[derive(Default)]
#[repr(C)]
pub(super) struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

const _: () = assert!(size_of::<ProcmapQuery>() == 104);

/// `PROCMAP_QUERY` (include/uapi/linux/fs.h).
pub(super) const PROCMAP_QUERY: u32 = rustix::ioctl::opcode::read_write::<ProcmapQuery>(b'f', 17);

/// Asks the kernel for the mapping that holds `address`.
fn query(maps: BorrowedFd<'_>, address: u64) -> Result<Mapping, Errno> {
    let (mut name, mut build_id) = (vec![0_u8; 4096], [0_u8; 20]);
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_addr: address,
        vma_name_size: name.len() as u32,
        build_id_size: build_id.len() as u32,
        vma_name_addr: name.as_mut_ptr() as u64,
        build_id_addr: build_id.as_mut_ptr() as u64,
        ..ProcmapQuery::default()
    };
    // SAFETY: the kernel reads and writes a structure of this type.
    let request = unsafe { Updater::<PROCMAP_QUERY, _>::new(&mut query) };
    // SAFETY: besides the structure, it writes only to the two buffers, as much as their sizes say; they live
    // longer than the call.
    unsafe { ioctl(maps, request) }?;
    // The size of a name counts its zero.
    let name = name.get(..(query.vma_name_size as usize).saturating_sub(1)).unwrap_or_default();
    let build_id = build_id.get(..query.build_id_size as usize).unwrap_or_default();
    let offset = query.vma_offset.wrapping_add(address.wrapping_sub(query.vma_start));
    Ok(Mapping::new(name, offset, build_id))
}

/// How much of `/proc/PID/maps` is read at most, bytes: some 150,000 mappings.
const READ_AT_MOST: u64 = 16 << 20;

/// Looks for the mapping that holds `address` in all of them.
fn read(maps: BorrowedFd<'_>, address: u64) -> Result<Mapping, Reason> {
    let mut lines = BufReader::with_capacity(1 << 16, Maps { file: maps, at: 0 });
    let mut line = Vec::new();
    while lines.get_ref().at <= READ_AT_MOST {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => return Err(Reason::NotMapped),
            Ok(_) => {}
            Err(error) => {
                return Err(of_process(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
            }
        }
        match parse(line.trim_ascii_end(), address) {
            Line::Holds(mapping) => return Ok(mapping),
            // They are sorted.
            Line::Above => return Err(Reason::NotMapped),
            Line::Below => {}
        }
    }
    Err(Reason::TooLong)
}

/// An open `/proc/PID/maps`, read by pread64(2): the helper is allowed no other call that reads files.
struct Maps<'a> {
    file: BorrowedFd<'a>,
    at: u64,
}

impl Read for Maps<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = pread(self.file, buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// How a line of `/proc/PID/maps` relates to an address.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Below,
    Holds(Mapping),
    Above,
}

/// A line without its end. One that cannot be understood holds nothing.
fn parse(line: &[u8], address: u64) -> Line {
    let fields = || -> Option<(u64, u64, u64, &[u8])> {
        // Range, permissions, offset, device, inode, name; spaces fill up to the name.
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let mut next = || std::str::from_utf8(fields.next()?).ok();
        let (start, end) = next()?.split_once('-')?;
        let offset = next().and_then(|_| next())?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (start, end, offset) = (number(start)?, number(end)?, number(offset)?);
        let _ = (next(), next());
        let name = fields.next().unwrap_or_default().trim_ascii_start();
        Some((start, end, offset, name))
    };
    match fields() {
        Some((start, ..)) if address < start => Line::Above,
        Some((start, end, offset, name)) if address < end => {
            Line::Holds(Mapping::new(&unescape(name), offset.wrapping_add(address - start), &[]))
        }
        _ => Line::Below,
    }
}

/// A name of which the kernel has written the line breaks, and nothing else, as `\012`.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut parts = name.split(|byte| *byte == b'\\');
    let mut unescaped = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        match part.strip_prefix(b"012") {
            Some(rest) => unescaped.extend([b"\n", rest].concat()),
            None => unescaped.extend([b"\\", part].concat()),
        }
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use proptest::prelude::*;

    use super::*;

    fn maps() -> File {
        File::open("/proc/self/maps").unwrap()
    }

    /// An address in this test's program, and where it lies in the file as `/proc/self/maps` says.
    fn own_code() -> (u64, u64) {
        let address = own_code as fn() -> (u64, u64) as usize as u64;
        let maps = procfs::process::Process::myself().unwrap().maps().unwrap();
        let holds =
            |map: &&procfs::process::MemoryMap| (map.address.0..map.address.1).contains(&address);
        let map = maps.iter().find(holds).unwrap();
        (address, map.offset + (address - map.address.0))
    }

    fn own_program() -> Vec<u8> {
        std::env::current_exe().unwrap().as_os_str().as_encoded_bytes().to_vec()
    }

    /// A build id may be there or not.
    fn without_build_id(mut mapping: Mapping) -> Mapping {
        if let Backing::File { build_id, .. } = &mut mapping.backing {
            build_id.clear();
        }
        mapping
    }

    #[test]
    fn code_is_found_in_its_file_by_reading_all_mappings() {
        let (address, offset) = own_code();
        let backing = Backing::File { path: own_program(), deleted: false, build_id: Vec::new() };
        assert_eq!(read(maps().as_fd(), address), Ok(Mapping { offset, backing }));
    }

    #[test]
    fn the_kernel_and_its_list_say_the_same() {
        let local = 0_u8;
        let heap = Box::new(0_u8);
        let addresses = [own_code().0, &raw const local as u64, &raw const *heap as u64, 1];
        for address in addresses {
            let asked = match query(maps().as_fd(), address) {
                Ok(mapping) => Ok(without_build_id(mapping)),
                Err(Errno::NOENT) => Err(Reason::NotMapped),
                // Before Linux 6.11.
                Err(Errno::NOTTY) => return,
                Err(errno) => panic!("{errno}"),
            };
            assert_eq!(asked, read(maps().as_fd(), address), "{address:#x}");
        }
    }

    #[test]
    fn what_the_kernel_maps_has_its_name() {
        let maps = procfs::process::Process::myself().unwrap().maps().unwrap();
        let is_vdso =
            |map: &&procfs::process::MemoryMap| map.pathname == procfs::process::MMapPath::Vdso;
        let vdso = maps.iter().find(is_vdso).unwrap().address.0;
        let mapping = read(self::maps().as_fd(), vdso + 5).unwrap();
        assert_eq!(mapping, Mapping { offset: 0, backing: Backing::Special(b"[vdso]".into()) });
        assert_eq!(mapping.text(), "[vdso]");
    }

    #[test]
    fn lines_are_understood() {
        let file = |path: &[u8], deleted| Backing::File {
            path: path.to_vec(),
            deleted,
            build_id: Vec::new(),
        };
        let start = b"1000-3000 r-xp 00002000 08:01 77                    ";
        for (name, backing, offset) in [
            (&b"/usr/lib/a b.so"[..], file(b"/usr/lib/a b.so", false), 0x2234),
            (b"/x (deleted)", file(b"/x", true), 0x2234),
            (b"/a\\012b\\c", file(b"/a\nb\\c", false), 0x2234),
            (b"/memfd:\xff", file(b"/memfd:\xff", false), 0x2234),
            (b"[heap]", Backing::Special(b"[heap]".into()), 0),
            (b"", Backing::Anonymous, 0),
        ] {
            let line = [&start[..], name].concat();
            assert_eq!(parse(&line, 0x1234), Line::Holds(Mapping { offset, backing }));
            assert_eq!(parse(&line, 0xfff), Line::Above);
            assert_eq!(parse(&line, 0x3000), Line::Below);
        }
        let mapping = Mapping { offset: 0x2234, backing: file(b"/a\nb", true) };
        assert_eq!(mapping.text(), "/a\\nb (deleted)+0x2234");
    }

    proptest! {
        #[test]
        fn any_line_is_taken_without_a_panic(line: Vec<u8>, address: u64) {
            let _ = parse(&line, address);
            let _ = parse(&[b"0-ffffffffffffffff r-xp ffffffffffffffff 0:0 0 ", &line[..]].concat(), address);
        }
    }
}
