//! Writes an initrd: a cpio archive of the "newc" kind
//! (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's tree).

use std::{collections::BTreeSet, path::Path};

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// An archive that is being written.
#[derive(Default)]
pub(crate) struct Initrd {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
}

impl Initrd {
    /// Adds a file by its absolute path, with the folders that lead there.
    pub(crate) fn add(&mut self, path: &str, permissions: u32, contents: Vec<u8>) {
        let mut folders: Vec<_> = Path::new(path).ancestors().skip(1).collect();
        folders.reverse();
        for folder in folders {
            let folder = folder.to_string_lossy().trim_start_matches('/').to_owned();
            if !folder.is_empty() && self.folders.insert(folder.clone()) {
                self.entry(&folder, FOLDER | 0o755, &[]);
            }
        }
        self.entry(path.trim_start_matches('/'), FILE | permissions, &contents);
    }

    /// The archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        // inode, mode, uid, gid, links, mtime, size, four device numbers, length of the name, check.
        let (size, name_size) = (contents.len() as u32, name.len() as u32 + 1);
        let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_every_folder_once_and_ends_with_its_trailer() {
        let mut initrd = Initrd::default();
        initrd.add("/a/b/c", 0o755, b"12345".to_vec());
        initrd.add("/a/d", 0o644, Vec::new());
        let bytes = initrd.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let names: Vec<&str> = text
            .split("070701")
            .skip(1)
            .map(|entry| entry[104..].split('\0').next().unwrap())
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/d", "TRAILER!!!"]);
        // The header and this name are a multiple of four together; the contents are not.
        assert!(text.contains("a/b/c\u{0}12345\u{0}\u{0}\u{0}070701"));
    }
}
