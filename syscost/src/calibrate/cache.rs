//! The last calibration, kept until the machine boots again: its results depend on the kernel, its options, and the CPU
//! that a virtual machine runs on.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::{decode::printable, model::calibration::Calibration};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Root's file, which everybody may read.
const OF_ROOT: &str = "/run/syscost/calibration.json";

/// The environment variable that names another file.
const PLACE: &str = "SYSCOST_CALIBRATION";

#[derive(Serialize, Deserialize)]
struct Kept {
    boot_id: String,
    version: String,
    calibration: Calibration,
}

/// The calibration of this boot: the user's own, or else root's. `None` if there is none.
pub fn load() -> Option<Calibration> {
    let places = match named_place() {
        Some(place) => vec![place],
        None => own_place().into_iter().chain([OF_ROOT.into()]).collect(),
    };
    places.into_iter().find_map(|place| {
        let kept: Kept = serde_json::from_slice(&fs::read(place).ok()?).ok()?;
        let current = kept.boot_id == boot_id().ok()? && kept.version == VERSION;
        current.then_some(kept.calibration)
    })
}

/// Stores `calibration`. Returns the path.
///
/// # Errors
/// When no file can be written.
pub fn store(calibration: &Calibration) -> Result<PathBuf> {
    let place = named_place().or_else(own_place);
    let place = place.context("no folder to keep it in: XDG_RUNTIME_DIR is not set")?;
    let cannot = || format!("cannot write {}", printable::path(&place));
    let folder = place.parent().with_context(cannot)?;
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {}", printable::path(folder)))?;
    let kept =
        Kept { boot_id: boot_id()?, version: VERSION.to_owned(), calibration: calibration.clone() };
    // Another process that reads it meanwhile finds a whole file or none.
    let mut new = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    serde_json::to_writer(&mut new, &kept).with_context(cannot)?;
    if geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt;
        new.as_file().set_permissions(fs::Permissions::from_mode(0o644)).with_context(cannot)?;
    }
    new.persist(&place).map_err(|error| error.error).with_context(cannot)?;
    Ok(place)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn named_place() -> Option<PathBuf> {
    env::var_os(PLACE).filter(|place| !place.is_empty()).map(PathBuf::from)
}

fn own_place() -> Option<PathBuf> {
    if geteuid().is_root() {
        return Some(OF_ROOT.into());
    }
    let folder = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?;
    Some(PathBuf::from(folder).join("syscost/calibration.json"))
}

fn boot_id() -> Result<String> {
    let id = fs::read_to_string(BOOT_ID).with_context(|| format!("cannot read {BOOT_ID}"))?;
    Ok(id.trim().to_owned())
}
