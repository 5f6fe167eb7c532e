//! Debian packages: downloaded by apt and unpacked under the target folder. None is installed.
//!
//! apt gets its own sources and state, below `kernels/apt`. The mirrors are the ones that this machine uses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::arch::Arch;
use crate::sh;

/// The newest package whose name begins and ends in a given way.
#[derive(Clone, Copy)]
pub(crate) struct Package {
    prefix: &'static str,
    suffix: &'static str,
    arch: Arch,
}

impl Package {
    /// Between `prefix` and `suffix`, the name has the numbers and dots of a version, or nothing.
    pub(crate) const fn numbered(prefix: &'static str, suffix: &'static str, arch: Arch) -> Self {
        Self { prefix, suffix, arch }
    }

    /// Busybox: a shell and its tools in one static file.
    pub(crate) const fn busybox(arch: Arch) -> Self {
        Self::numbered("busybox-static", "", arch)
    }

    /// The name with the highest version among the ones that match.
    fn newest<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let version = |name: &'a str| -> Option<Vec<u64>> {
            let middle = name.strip_prefix(self.prefix)?.strip_suffix(self.suffix)?;
            if middle.is_empty() {
                return Some(Vec::new());
            }
            middle.split('.').map(|number| number.parse().ok()).collect()
        };
        names.filter_map(|name| Some((version(name)?, name))).max().map(|(_, name)| name)
    }
}

/// The suites that have the kernels: releases, and their security updates.
const SUITES: [&str; 5] = ["bullseye", "bullseye-security", "trixie", "trixie-security", "forky"];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The files that are unpacked: kernels, and busybox.
const FILES: [&str; 2] = ["*/vmlinuz*", "*bin/busybox"];

/// Unpacks each package into the folder of its label, unless it is there already.
pub(crate) fn fetch(folder: &Path, packages: &[(String, Package)]) -> Result<()> {
    let missing: Vec<_> =
        packages.iter().filter(|(label, _)| !folder.join(label).is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let apt = Apt::new(folder)?;
    apt.update()?;
    let names = sh::capture(apt.command("apt-cache").arg("pkgnames"))?;
    for (label, package) in missing {
        let Some(name) = package.newest(names.lines()) else {
            let Package { prefix, suffix, .. } = package;
            bail!("the Debian mirror has no package {prefix}…{suffix}, for {label}");
        };
        let archives = apt.folder.join(label);
        recreate(&archives)?;
        let name = format!("{name}:{}", package.arch.debian());
        sh::run(apt.command("apt-get").current_dir(&archives).args(["-q", "download", &name]))?;
        unpack_archives(&archives, &folder.join(label), &FILES)?;
    }
    Ok(())
}

/// The file in `folder`, however deep, whose name begins with `name`.
pub(crate) fn file_in(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with(name) {
                return Ok(entry.path());
            }
        }
    }
    bail!("no {name} in {}: delete that folder to have it made anew", folder.display())
}

/// The first folder in `folder`.
pub(crate) fn folder_in(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let found = entries.find(|path| path.is_dir());
    found.with_context(|| format!("no folder in {}: delete that to have it anew", folder.display()))
}

/// How to start the emulator.
pub(crate) struct Emulator {
    arch: Arch,
    /// The folder that it is unpacked in; `None` when it is installed.
    unpacked: Option<PathBuf>,
}

/// The installed emulator; otherwise one that is unpacked beside the kernels, with the packages it depends on.
pub(crate) fn emulator(folder: &Path, arch: Arch) -> Result<Emulator> {
    let qemu = arch.qemu();
    let installed = sh::which(qemu).is_some();
    let unpacked =
        if installed { None } else { Some(unpack_all(folder, qemu, &[arch.qemu_package()])?) };
    Ok(Emulator { arch, unpacked })
}

impl Emulator {
    pub(crate) fn command(&self) -> Command {
        let qemu = self.arch.qemu();
        let Some(place) = &self.unpacked else { return Command::new(qemu) };
        let mut command = Command::new(place.join("usr/bin").join(qemu));
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        let libraries = libraries.map(|folder| place.join(folder).display().to_string());
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(place.join(firmware));
        }
        command
    }

    pub(crate) const fn arch(&self) -> Arch {
        self.arch
    }
}

/// The libraries and the linker for building for another processor.
pub(crate) struct Cross {
    /// The folder of rustc's libraries for it.
    pub(crate) rust: PathBuf,
    /// The folder of the unpacked linker and C library; `None` when they are installed.
    pub(crate) gcc: Option<PathBuf>,
}

/// The linker for arm64: the C compiler, which knows where the C library is.
pub(crate) const CROSS_GCC: &str = "aarch64-linux-gnu-gcc";

/// Rust's libraries of the version that the installed compiler has, and a linker.
pub(crate) fn cross(folder: &Path, arch: Arch) -> Result<Cross> {
    const LIBRARIES: &str = "libstd-rust-web-dev";
    let version = sh::ask("dpkg-query", &["-W", "-f=${Version}", LIBRARIES])
        .with_context(|| format!("{LIBRARIES} is not installed: run `cargo xtask setup`"))?;
    let rust = folder.join(format!("rust-{}-{version}", arch.debian()));
    if !rust.is_dir() {
        let apt = Apt::new(folder)?;
        apt.update()?;
        let archives = apt.folder.join("rust");
        recreate(&archives)?;
        let package = format!("{LIBRARIES}:{}={version}", arch.debian());
        sh::run(apt.command("apt-get").current_dir(&archives).args(["-q", "download", &package]))?;
        unpack_archives(&archives, &rust, &[])?;
    }
    let installed = sh::which(CROSS_GCC).is_some();
    let packages = [CROSS_GCC_PACKAGE, "libc6-dev-arm64-cross"];
    let gcc = if installed { None } else { Some(unpack_all(folder, CROSS_GCC, &packages)?) };
    Ok(Cross { rust, gcc })
}

const CROSS_GCC_PACKAGE: &str = "gcc-aarch64-linux-gnu";

/// Unpacks packages and the dependencies that are not installed, unless an earlier run has done it.
pub(crate) fn unpack_all(folder: &Path, label: &str, packages: &[&str]) -> Result<PathBuf> {
    let place = folder.join(label);
    if !place.is_dir() {
        let apt = Apt::new(folder)?;
        apt.update()?;
        let archives = apt.folder.join(label);
        recreate(&archives.join("partial"))?;
        let mut command = apt.command("apt-get");
        // Only downloaded: installing could conflict with installed packages.
        command.args(["-q", "-y", "--download-only", "--no-install-recommends", "-o"]);
        command.arg(format!("Dir::Cache::archives={}/", archives.display()));
        sh::run(command.arg("install").args(packages))?;
        unpack_archives(&archives, &place, &[])?;
    }
    Ok(place)
}

/// Unpacks the files that match `patterns` from all packages in `archives`, and removes `archives`.
fn unpack_archives(archives: &Path, place: &Path, patterns: &[&str]) -> Result<()> {
    let mut unpacked = place.as_os_str().to_owned();
    unpacked.push(".new");
    let unpacked = PathBuf::from(unpacked);
    recreate(&unpacked)?;
    for archive in fs::read_dir(archives)? {
        let archive = archive?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            unpack(&archive, &unpacked, patterns)?;
        }
    }
    // Renamed last, so that a folder with the final name is complete.
    fs::rename(&unpacked, place)?;
    Ok(fs::remove_dir_all(archives)?)
}

/// apt with its own sources and state.
struct Apt {
    folder: PathBuf,
    release: String,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        if sh::which("apt-get").is_none() || !Path::new(KEYRING).is_file() {
            bail!("the kernels to test on are Debian's: this takes a Debian machine");
        }
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let release = release.context("/etc/os-release names no Debian release")?.to_owned();
        let uris = sh::capture(Command::new("apt-get").args(["update", "--print-uris"]))?;
        let sources = sources(&uris, &release)?;
        let folder = folder.join("apt");
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache/archives/partial"))?;
        fs::write(folder.join("sources.list"), sources).context("cannot write apt's sources")?;
        Ok(Self { folder, release })
    }

    fn command(&self, program: &str) -> Command {
        let at = self.folder.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::SourceList={at}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={at}/lists"),
            format!("Dir::Cache={at}/cache"),
            // The state of installed packages is read and not changed.
            "Debug::NoLocking=true".to_owned(),
            // apt's own user may not be able to enter the folder.
            "APT::Sandbox::User=".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64,arm64".to_owned(),
            // Tools come from this release where it has them; kernels come from any.
            format!("APT::Default-Release={}", self.release),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    fn update(&self) -> Result<()> {
        // Mirrors fail for moments, so that one failure is not final.
        let update = || sh::run(self.command("apt-get").args(["-q", "update"]));
        update().or_else(|_| update())
    }
}

/// The sources of all suites, on the mirrors that `uris` (of `apt-get update --print-uris`) has for
/// the machine's own `release`.
fn sources(uris: &str, release: &str) -> Result<String> {
    let mirror = |suite: &str| {
        uris.lines().find_map(|line| {
            let (mirror, rest) = line.strip_prefix('\'')?.split_once("/dists/")?;
            rest.starts_with(&format!("{suite}/")).then(|| mirror.to_owned())
        })
    };
    let archive = mirror(release).with_context(|| format!("apt has no mirror of {release}"))?;
    let security = mirror(&format!("{release}-security"));
    let mut sources = String::new();
    let own = [release.to_owned(), format!("{release}-security")];
    for suite in own.iter().map(String::as_str).chain(SUITES) {
        let mirror = if suite.ends_with("-security") { security.as_ref() } else { Some(&archive) };
        if let Some(mirror) = mirror {
            let line =
                format!("deb [arch=amd64,arm64 signed-by={KEYRING}] {mirror} {suite} main\n");
            if !sources.contains(&line) {
                sources += &line;
            }
        }
    }
    Ok(sources)
}

/// Unpacks what matches any of `patterns`, or everything when there are none.
fn unpack(archive: &Path, into: &Path, patterns: &[&str]) -> Result<()> {
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let stdout = dpkg.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "-C"]).arg(into).arg("--wildcards").args(patterns).stdin(stdout);
    // tar fails if a pattern matches nothing. A file that is missing is noticed by its user.
    let status = sh::status(tar.stderr(Stdio::null()))?;
    if !dpkg.wait()?.success() || patterns.is_empty() && !status.success() {
        bail!("cannot unpack {}", archive.display());
    }
    Ok(())
}

fn recreate(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_is_taken_and_lookalikes_are_not() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64-unsigned",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.12.9-cloud-amd64",
        ];
        let package = Package::numbered("linux-image-6.1.0-", "-cloud-amd64", Arch::Amd64);
        assert_eq!(package.newest(names.into_iter()), Some(names[1]));
        assert_eq!(
            Package::busybox(Arch::Arm64).newest(["busybox", "busybox-static"].into_iter()),
            Some("busybox-static")
        );
        assert_eq!(package.newest([].into_iter()), None);
    }

    #[test]
    fn the_mirrors_of_the_machine_are_used() {
        let uris = "'http://a/debian/dists/bookworm-updates/InRelease' x 0 \n\
                    'http://a/debian/dists/bookworm/InRelease' x 0 \n\
                    'https://b/security/dists/bookworm-security/InRelease' y 0 \n";
        let sources = sources(uris, "bookworm").unwrap();
        assert!(sources.contains(" http://a/debian forky main\n"), "{sources}");
        assert!(sources.contains(" https://b/security bullseye-security main\n"), "{sources}");
        assert!(super::sources(uris, "trixie").is_err());
    }
}
