//! One hash over everything the compiled kernel programs come from.
//!
//! SHA-256 over these entries, in this order, each `name NUL contents NUL`:
//!
//! 1. the manifest and every `.rs` file of `syscost-ebpf` and `syscost-common`, by their path
//!    from the root (`/` between folders), sorted by it; CR LF counts as LF;
//! 2. `Cargo.lock`, of which only the `name version` lines of the crates that reach the kernel
//!    programs count, sorted, one per line.
//!
//! Neither the clone's place nor the checkout's line endings change it.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::sh;

/// Where the hash is kept, from the root.
pub(crate) const RECORD: &str = "syscost/ebpf/SOURCES.sha256";

const FOLDERS: [&str; 2] = ["syscost-ebpf/src", "syscost-common/src"];
const MANIFESTS: [&str; 2] = ["syscost-ebpf/Cargo.toml", "syscost-common/Cargo.toml"];

/// The hash of the sources under `root`, in hexadecimal.
pub(crate) fn hash(root: &Path) -> Result<String> {
    let mut entries = Vec::new();
    for folder in FOLDERS {
        for path in rust_files(root, folder)? {
            let contents = read(root, &path)?;
            entries.push((path, contents));
        }
    }
    for manifest in MANIFESTS {
        entries.push((manifest.to_owned(), read(root, manifest)?));
    }
    let lock = String::from_utf8(read(root, "Cargo.lock")?).context("Cargo.lock is not UTF-8")?;
    let reaches_the_objects = |name: &str| {
        name.starts_with("aya-ebpf") || name.starts_with("aya-log-ebpf") || name == "aya-log-common"
    };
    Ok(digest(entries, &locked_versions(&lock, reaches_the_objects)))
}

/// The kernel side's binaries; each becomes one object.
pub(crate) fn binaries(root: &Path) -> Result<Vec<String>> {
    let manifest = String::from_utf8(read(root, MANIFESTS[0])?).context("not UTF-8")?;
    let names: Vec<String> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|bin| bin.lines().find_map(|line| value_of(line, "name")))
        .collect();
    if names.is_empty() {
        bail!("{} declares no [[bin]]", MANIFESTS[0]);
    }
    Ok(names)
}

/// Fails when the committed objects were built from other sources than those present.
pub(crate) fn check() -> Result<()> {
    let root = sh::root();
    let Ok(record) = fs::read_to_string(root.join(RECORD)) else {
        bail!("{RECORD} is missing: run `cargo xtask build-ebpf`");
    };
    if record.lines().next() != Some(hash(&root)?.as_str()) {
        bail!("kernel sources changed: run `cargo xtask build-ebpf`");
    }
    Ok(())
}

fn digest(mut entries: Vec<(String, Vec<u8>)>, versions: &str) -> String {
    entries.sort();
    entries.push(("Cargo.lock".to_owned(), versions.as_bytes().to_vec()));
    let mut hasher = Sha256::new();
    for (path, contents) in entries {
        hasher.update(path);
        hasher.update([0]);
        hasher.update(unix_lines(&contents));
        hasher.update([0]);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unix_lines(contents: &[u8]) -> Vec<u8> {
    let followed_by_lf = |i: usize| contents.get(i + 1) == Some(&b'\n');
    let kept = contents.iter().enumerate().filter(|&(i, &b)| b != b'\r' || !followed_by_lf(i));
    kept.map(|(_, &byte)| byte).collect()
}

/// The `name version` lines of a `Cargo.lock`, for the crates that `counts` is true for.
pub(crate) fn locked_versions(lock: &str, counts: impl Fn(&str) -> bool) -> String {
    let mut lines = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package.lines().find_map(|line| value_of(line, "name"));
        let version = package.lines().find_map(|line| value_of(line, "version"));
        let (Some(name), Some(version)) = (name, version) else { continue };
        if counts(&name) {
            lines.push(format!("{name} {version}\n"));
        }
    }
    lines.sort();
    lines.concat()
}

/// The text in `key = "text"`, if that is what the line says.
fn value_of(line: &str, key: &str) -> Option<String> {
    let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// Every `.rs` file under `folder`, by its path from `root`, sorted. An empty `folder` is `root` itself.
pub(crate) fn rust_files(root: &Path, folder: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let listing =
        fs::read_dir(root.join(folder)).with_context(|| format!("cannot list {folder}"))?;
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            files.extend(rust_files(root, &path)?);
        } else if path.ends_with(".rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The module that a file is, as a path from the root module: `view/tui/mod.rs` is `view::tui`. `path` begins in
/// the folder of the root module, which is the empty path.
pub(crate) fn module(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

fn read(root: &Path, path: &str) -> Result<Vec<u8>> {
    fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(files: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        files.iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_committed_objects_come_from_these_sources() {
        if let Err(error) = check() {
            panic!("{error}");
        }
    }

    #[test]
    fn line_endings_and_listing_order_do_not_change_the_hash() {
        let unix = digest(entries(&[("a.rs", "fn a() {}\n"), ("b.rs", "x\n")]), "");
        let windows = digest(entries(&[("b.rs", "x\r\n"), ("a.rs", "fn a() {}\r\n")]), "");
        assert_eq!(unix, windows);
    }

    #[test]
    fn contents_names_and_versions_change_the_hash() {
        let base = digest(entries(&[("a.rs", "x")]), "aya-ebpf 1\n");
        assert_ne!(base, digest(entries(&[("a.rs", "y")]), "aya-ebpf 1\n"));
        assert_ne!(base, digest(entries(&[("b.rs", "x")]), "aya-ebpf 1\n"));
        assert_ne!(base, digest(entries(&[("a.rs", "x")]), "aya-ebpf 2\n"));
    }

    #[test]
    fn the_algorithm_is_the_documented_one() {
        let expected = Sha256::digest(b"a.rs\0x\n\0Cargo.lock\0aya-ebpf 1\n\0");
        let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest(entries(&[("a.rs", "x\r\n")]), "aya-ebpf 1\n"), expected);
    }

    #[test]
    fn only_crates_that_are_asked_for_count() {
        let lock = "version = 4\n\n[[package]]\nname = \"aya\"\nversion = \"0.14.0\"\n\n\
                    [[package]]\nname = \"aya-log-common\"\nversion = \"0.2.0\"\n\n\
                    [[package]]\nname = \"aya-ebpf-cty\"\nversion = \"0.3.0\"\nsource = \"x\"\n";
        assert_eq!(
            locked_versions(lock, |name| name != "aya"),
            "aya-ebpf-cty 0.3.0\naya-log-common 0.2.0\n"
        );
    }
}
