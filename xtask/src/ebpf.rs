//! Compiles the kernel programs into the objects that are committed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::{sh, sources, toolchain::Toolchain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compare a fresh build with the committed objects; change nothing
    #[arg(long)]
    check: bool,
}

/// Builds the objects, or compares a fresh build with the committed ones.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.check { check() } else { build() }
}

/// Builds the objects and records the hash of their sources.
fn build() -> Result<ExitCode> {
    let toolchain = Toolchain::find()?;
    let objects = sources::binaries(&sh::root())?;
    eprintln!("{}", toolchain.versions);
    if !toolchain.reproduces() {
        eprintln!("note: a nightly's objects work, but `build-ebpf --check` will not match them");
    }
    // Before the build: a file that is edited during the build must not count as built.
    let hash = sources::hash(&sh::root())?;
    let built = compile(&toolchain, &objects, &sh::target_dir()?.join("bpf"))?;
    for (object, built) in objects.iter().zip(built) {
        let committed = committed(object);
        fs::create_dir_all(committed.parent().unwrap_or(Path::new(".")))?;
        fs::copy(&built, &committed)
            .with_context(|| format!("cannot write {}", committed.display()))?;
        println!("{} ({} bytes)", committed.display(), fs::metadata(&committed)?.len());
    }
    let record = format!("{hash}\n# {}\n", toolchain.versions);
    fs::write(sh::root().join(sources::RECORD), record).context("cannot record the sources")?;
    Ok(ExitCode::SUCCESS)
}

/// Builds everything anew and compares it with the committed objects.
fn check() -> Result<ExitCode> {
    sources::check()?;
    let toolchain = Toolchain::find()?;
    let objects = sources::binaries(&sh::root())?;
    eprintln!("{}", toolchain.versions);
    if !toolchain.reproduces() {
        bail!("only Debian's compiler gives the committed bytes; run `cargo xtask setup`");
    }
    let folder = sh::target_dir()?.join("bpf-check");
    // Files of an earlier build must not be taken for this one's.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let built = compile(&toolchain, &objects, &folder)?;
    let mut differing = Vec::new();
    for (object, built) in objects.iter().zip(built) {
        let (old, new) = (fs::read(committed(object)).unwrap_or_default(), fs::read(&built)?);
        if old == new {
            println!("{object}.bpf.o: {} bytes, the same", new.len());
        } else {
            let at = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
            println!(
                "{object}.bpf.o: DIFFERS from byte {at} on ({} bytes committed, {} built into {})",
                old.len(),
                new.len(),
                built.display()
            );
            differing.push(object.as_str());
        }
    }
    // Nobody could rebuild an object without a source.
    for entry in fs::read_dir(sh::root().join("syscost/ebpf"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let orphan = name.strip_suffix(".bpf.o").filter(|stem| !objects.iter().any(|o| o == stem));
        if orphan.is_some() {
            bail!("syscost/ebpf/{name} comes from no kernel program: delete it");
        }
    }
    if !differing.is_empty() {
        let record = fs::read_to_string(sh::root().join(sources::RECORD))?;
        let then = record.lines().nth(1).unwrap_or("# unknown").trim_start_matches("# ");
        bail!(
            "the committed objects are not what their sources give ({}): \
             run `cargo xtask build-ebpf`\n  committed with {then}\n  built now with {}",
            differing.join(", "),
            toolchain.versions
        );
    }
    fs::remove_dir_all(&folder)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds and strips; returns the objects' files, in the order of `objects`.
fn compile(toolchain: &Toolchain, objects: &[String], target_dir: &Path) -> Result<Vec<PathBuf>> {
    let folder = toolchain.build(objects, target_dir)?;
    let mut files = Vec::new();
    for object in objects {
        let stripped = target_dir.join(format!("{object}.bpf.o"));
        toolchain.strip(&folder.join(object), &stripped)?;
        // Without BTF neither maps in task storage nor BTF tracepoints load.
        if !contains(&fs::read(&stripped)?, b".BTF\0") {
            bail!("{} has no BTF: did bpf-linker run with --btf?", stripped.display());
        }
        files.push(stripped);
    }
    Ok(files)
}

fn committed(object: &str) -> PathBuf {
    sh::root().join(format!("syscost/ebpf/{object}.bpf.o"))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
