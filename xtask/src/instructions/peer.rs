//! The tracer that syscost is compared with, for a machine that has no libraries.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{kernels::packages, sh};

/// Its name and that of its package.
pub(super) const PROGRAM: &str = "syscount";
const PACKAGE: &str = "libbpf-tools";

/// A program and its libraries.
pub(super) struct Peer {
    /// Where each file belongs, and where it is.
    pub(super) files: Vec<(String, PathBuf)>,
}

impl Peer {
    /// Unpacks it below `folder`.
    pub(super) fn fetch(folder: &Path) -> Result<Self> {
        let place = packages::unpack_all(folder, PACKAGE, &[PACKAGE])?;
        let program = place.join("usr/sbin").join(PROGRAM);
        ensure!(program.is_file(), "{PACKAGE} has no {PROGRAM}");
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        let libraries = libraries.map(|folder| place.join(folder).display().to_string());
        let mut ldd = Command::new("ldd");
        ldd.arg(&program).env("LD_LIBRARY_PATH", libraries.join(":"));
        let list = sh::capture(&mut ldd)?;
        let mut files = vec![(format!("/bin/{PROGRAM}"), program)];
        for line in list.lines() {
            files.extend(library(line)?);
        }
        Ok(Self { files })
    }
}

/// Reads a line of ldd(1): where the library belongs, and where it is; `None` for what the kernel provides.
fn library(line: &str) -> Result<Option<(String, PathBuf)>> {
    let line = line.trim();
    // The address, in brackets, is at the end of what was found.
    let found = line.rsplit_once(" (0x").map(|(found, _)| found);
    let found = found.with_context(|| format!("a library is missing: {line}"))?;
    Ok(match found.split_once(" => ") {
        Some((name, file)) => Some((format!("/lib/x86_64-linux-gnu/{name}"), PathBuf::from(file))),
        // The loader, by its absolute path.
        None if found.starts_with('/') => Some((found.to_owned(), PathBuf::from(found))),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_goes_where_the_loader_looks_for_it() {
        let found =
            library("\tlibelf.so.1 => /place/usr/lib/libelf.so.1 (0x00007f0012ab)").unwrap();
        let file = PathBuf::from("/place/usr/lib/libelf.so.1");
        assert_eq!(found, Some(("/lib/x86_64-linux-gnu/libelf.so.1".to_owned(), file)));
        let loader = "/lib64/ld-linux-x86-64.so.2";
        let found = library(&format!("\t{loader} (0x00007f0012ab)")).unwrap();
        assert_eq!(found, Some((loader.to_owned(), PathBuf::from(loader))));
    }

    #[test]
    fn what_the_kernel_provides_needs_no_file_and_what_is_missing_is_an_error() {
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007ffc)").unwrap(), None);
        assert!(library("\tlibelf.so.1 => not found").is_err());
    }
}
