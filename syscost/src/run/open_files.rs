//! How many files may be open at a time.

use anyhow::{Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What attaching takes at most, with room to spare: maps, programs, links, and what is open anyway.
/// Each process or thread that is given takes a few more.
const NEEDED: u64 = 96;

/// Raises the limit as far as it goes, so that nothing is left out for want of a descriptor.
///
/// # Errors
/// When that is not enough.
pub(super) fn raise_limit() -> Result<()> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    // A command that is started inherits the limit: it is left alone where it is enough.
    if soft >= NEEDED {
        return Ok(());
    }
    if hard < NEEDED || setrlimit(Resource::RLIMIT_NOFILE, NEEDED, hard).is_err() {
        bail!(
            "only {hard} files may be open at a time: raise the limit to at least {NEEDED} (ulimit -n {NEEDED})"
        );
    }
    Ok(())
}
