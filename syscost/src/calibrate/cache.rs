//! The last calibration, kept until the machine is started anew: what it found may change with the
//! kernel, its options, and the CPU that a virtual machine finds itself on.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::model::calibration::Calibration;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Root's own place, which everybody may read.
const OF_ROOT: &str = "/run/syscost";

#[derive(Serialize, Deserialize)]
struct Kept {
    boot_id: String,
    version: String,
    calibration: Calibration,
}

/// The calibration of this boot, the user's own or else root's; `None` when there was none.
pub fn load() -> Option<Calibration> {
    [own_folder(), Some(OF_ROOT.into())].into_iter().flatten().find_map(|folder| {
        let kept: Kept = serde_json::from_slice(&fs::read(file(folder)).ok()?).ok()?;
        let current = kept.boot_id == boot_id().ok()? && kept.version == VERSION;
        current.then_some(kept.calibration)
    })
}

/// Keeps `calibration`. Returns where.
///
/// # Errors
/// When there is no place for it.
pub fn store(calibration: &Calibration) -> Result<PathBuf> {
    let folder = own_folder().context("no folder to keep it in: XDG_RUNTIME_DIR is not set")?;
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let kept =
        Kept { boot_id: boot_id()?, version: VERSION.to_owned(), calibration: calibration.clone() };
    // Whole or not at all, for whoever reads it meanwhile.
    let place = file(folder.clone());
    let cannot = || format!("cannot write {}", place.display());
    let mut new = tempfile::NamedTempFile::new_in(&folder).with_context(cannot)?;
    serde_json::to_writer(&mut new, &kept).with_context(cannot)?;
    if geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt;
        new.as_file().set_permissions(fs::Permissions::from_mode(0o644)).with_context(cannot)?;
    }
    new.persist(&place).map_err(|error| error.error).with_context(cannot)?;
    Ok(place)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn own_folder() -> Option<PathBuf> {
    if geteuid().is_root() {
        return Some(OF_ROOT.into());
    }
    let folder = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?;
    Some(PathBuf::from(folder).join("syscost"))
}

fn file(folder: PathBuf) -> PathBuf {
    folder.join("calibration.json")
}

fn boot_id() -> Result<String> {
    let id = fs::read_to_string(BOOT_ID).with_context(|| format!("cannot read {BOOT_ID}"))?;
    Ok(id.trim().to_owned())
}
