//! Checks the walls: which module may name what, and why. ARCHITECTURE.md lists them.

mod paths;

use std::{fmt, fs, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::{sh, sources};
use paths::Named;

/// A rule about one part of a crate: inside it, some paths must not be named.
struct Wall {
    /// What is forbidden, for the report.
    rule: &'static str,
    /// The reason, for the report.
    why: &'static str,
    /// The modules that it holds in, by their paths from the crate's root. Empty: in all modules.
    inside: &'static [&'static str],
    /// The modules that it does not hold in.
    except: &'static [&'static str],
    forbids: fn(&Named) -> bool,
}

/// The walls in the sources of one crate.
struct Crate {
    /// Its sources, from the repository's root.
    folder: &'static str,
    walls: &'static [Wall],
}

static CRATES: [Crate; 2] = [
    Crate { folder: "syscost/src", walls: &WALLS },
    Crate { folder: "syscost-ebpf/src", walls: &KERNEL_SIDE_WALLS },
];

/// The modules that keep something of finished calls (`sinks!` in `syscost-ebpf/src/finish.rs`).
const SINKS: [&str; 2] = ["crate::cells", "crate::totals"];

static KERNEL_SIDE_WALLS: [Wall; 1] = [Wall {
    rule: "`finish` only names what keeps finished calls",
    why: "a call that ends in another way would be missing in some of them",
    inside: &[],
    except: &["finish", "cells", "totals"],
    forbids: |path| starts_with_any(path, &SINKS),
}];

static WALLS: [Wall; 12] = [
    Wall {
        rule: "`aya` is used in `probe` only",
        why: "everything else works on what was read, and so on a recording as well",
        inside: &[],
        except: &["probe"],
        forbids: |path| starts_with_any(path, &["aya", "aya_obj", "aya_log"]),
    },
    Wall {
        rule: "`ratatui` and `crossterm` are used in `view::tui` only",
        why: "the other views and the model must work without a terminal",
        inside: &[],
        except: &["view::tui"],
        forbids: |path| starts_with_any(path, &["ratatui", "crossterm"]),
    },
    Wall {
        rule: "`model` and `decode` read no clock",
        why: "time comes with the samples, so that a replay gives what the live run gave",
        inside: &["model", "decode"],
        except: &[],
        forbids: |path| {
            let clocks = ["Instant", "SystemTime", "clock_gettime"];
            path.segments.iter().any(|segment| clocks.contains(&segment.as_str()))
        },
    },
    Wall {
        rule: "`model` and `decode` do no input or output",
        why: "the same samples must always give the same model, in a test as in production",
        inside: &["model", "decode"],
        except: &[],
        forbids: |path| starts_with_any(path, &["std::fs", "std::net", "tokio"]),
    },
    Wall {
        rule: "`view` and `model` use no `source`, `probe`, `enrich` or `run`",
        why: "a view shows live and replayed data alike because it cannot tell them apart",
        inside: &["view", "model"],
        except: &[],
        forbids: |path| {
            let others = ["crate::source", "crate::probe", "crate::enrich", "crate::run"];
            starts_with_any(path, &others)
        },
    },
    Wall {
        rule: "`probe` uses no `model`",
        why: "what was read does not depend on what becomes of it",
        inside: &["probe"],
        except: &[],
        forbids: |path| starts_with_any(path, &["crate::model"]),
    },
    Wall {
        rule: "`target` and `cli` use no `probe`",
        why: "arguments and targets are checked before anything touches the kernel",
        inside: &["target", "cli"],
        except: &[],
        forbids: |path| starts_with_any(path, &["crate::probe"]),
    },
    Wall {
        rule: "text from outside becomes text by `decode::printable` only",
        why: "these lose bytes, or let through what drives a terminal; `external` and `path` do neither",
        inside: &[],
        except: &["decode::printable"],
        forbids: |path| {
            let others = ["from_utf8_lossy", "to_string_lossy", "display"];
            path.segments.last().is_some_and(|last| others.contains(&last.as_str()))
        },
    },
    Wall {
        rule: "`sample` uses no `model` or `view`",
        why: "a recording holds what was read, so that a newer model can read an older recording",
        inside: &["sample"],
        except: &[],
        forbids: |path| starts_with_any(path, &["crate::model", "crate::view"]),
    },
    Wall {
        rule: "of this crate, `record` uses `sample` only",
        why: "a recording can be read without a kernel, a target or a screen",
        inside: &["record"],
        except: &[],
        forbids: |path| {
            starts_with_any(path, &["crate"])
                && !starts_with_any(path, &["crate::record", "crate::sample"])
        },
    },
    Wall {
        rule: "stdout is written to by `message` and `view::tui::term` only",
        why: "a reader that goes away or does not read must neither end nor stop a measurement",
        inside: &[],
        except: &["message", "view::tui::term"],
        forbids: |path| {
            starts_with_any(path, &["std::io::stdout", "io::stdout", "std::io::Stdout"])
        },
    },
    Wall {
        rule: "stderr is written to by `message` only",
        why: "a reader that goes away or does not read must neither end nor stop a measurement",
        inside: &[],
        except: &["message"],
        forbids: |path| {
            starts_with_any(path, &["std::io::stderr", "io::stderr", "std::io::Stderr"])
        },
    },
];

const COMMON_RULE: &str = "`syscost-common` depends on nothing and is `no_std`";
const COMMON_WHY: &str = "it is compiled for the kernel as well, where nothing else is";

/// One place where a wall is broken.
#[derive(Debug)]
struct Violation {
    file: String,
    line: usize,
    found: String,
    rule: &'static str,
    why: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { file, line, found, rule, why } = self;
        write!(f, "{file}:{line}: {found}\n    {rule}: {why}")
    }
}

/// `cargo xtask walls`
pub(crate) fn run() -> Result<ExitCode> {
    check()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints every violation, and fails when there is one.
pub(crate) fn check() -> Result<()> {
    let root = sh::root();
    let read = |path: &str| {
        fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
    };
    let mut violations = Vec::new();
    let (mut files, mut walls) = (0, 1);
    for part in &CRATES {
        walls += part.walls.len();
        for file in sources::rust_files(&root, part.folder)? {
            files += 1;
            violations.extend(in_source(part, &file, &read(&file)?)?);
        }
    }
    let manifest = "syscost-common/Cargo.toml";
    violations.extend(in_common_manifest(manifest, &read(manifest)?));
    let library = "syscost-common/src/lib.rs";
    violations.extend(in_common_library(library, &read(library)?)?);

    for violation in &violations {
        println!("{violation}");
    }
    if !violations.is_empty() {
        bail!("{} walls broken", violations.len());
    }
    eprintln!("all {walls} walls hold in {files} files");
    Ok(())
}

fn in_source(part: &'static Crate, file: &str, source: &str) -> Result<Vec<Violation>> {
    let module =
        sources::module(file.strip_prefix(part.folder).unwrap_or(file).trim_start_matches('/'));
    if module.iter().any(|name| name == "tests") {
        // The same exemption as for `#[cfg(test)]` items.
        return Ok(Vec::new());
    }
    let named = paths::find(source, &module).with_context(|| format!("cannot read {file}"))?;
    let at = module.join("::");
    let holds = |wall: &&Wall| {
        (wall.inside.is_empty() || wall.inside.iter().any(|part| lies_in(&at, part)))
            && !wall.except.iter().any(|part| lies_in(&at, part))
    };
    let broken = |wall: &'static Wall| {
        named.iter().filter(|path| (wall.forbids)(path)).map(|path| Violation {
            file: file.to_owned(),
            line: path.line,
            found: path.segments.join("::"),
            rule: wall.rule,
            why: wall.why,
        })
    };
    Ok(part.walls.iter().filter(holds).flat_map(broken).collect())
}

fn in_common_manifest(file: &str, manifest: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut in_dependencies = false;
    for (at, line) in manifest.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut named = !line.is_empty() && in_dependencies;
        if let Some(header) = line.strip_prefix('[') {
            // Also `[target.….dependencies]` and `[dependencies.NAME]`; tests may depend on more.
            let mut parts = header.trim_end_matches(']').split('.').map(str::trim);
            in_dependencies =
                parts.any(|part| ["dependencies", "build-dependencies"].contains(&part));
            named = in_dependencies && parts.next().is_some();
        }
        if named {
            violations.push(common(file, at + 1, line));
        }
    }
    violations
}

fn in_common_library(file: &str, source: &str) -> Result<Option<Violation>> {
    let is_no_std = paths::is_no_std(source)?;
    Ok((!is_no_std).then(|| common(file, 1, "no `#![no_std]`")))
}

fn common(file: &str, line: usize, found: &str) -> Violation {
    let (file, found) = (file.to_owned(), found.to_owned());
    Violation { file, line, found, rule: COMMON_RULE, why: COMMON_WHY }
}

fn lies_in(module: &str, part: &str) -> bool {
    module.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether the path is one of `parts`, or lies in one. A single word outside of an import is not: it may be a variable.
fn starts_with_any(path: &Named, parts: &[&str]) -> bool {
    (path.import || path.segments.len() > 1)
        && parts.iter().any(|part| lies_in(&path.segments.join("::"), part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(file: &str, source: &str) -> Vec<String> {
        broken_in(&CRATES[0], file, source)
    }

    fn broken_in(part: &'static Crate, file: &str, source: &str) -> Vec<String> {
        let violations = in_source(part, &format!("{}/{file}", part.folder), source).unwrap();
        violations.iter().map(|v| format!("{} {}", v.line, v.found)).collect()
    }

    #[test]
    fn aya_stays_in_probe() {
        assert_eq!(broken("run.rs", "use aya::Ebpf;"), ["1 aya::Ebpf"]);
        assert_eq!(broken("main.rs", "\nfn f() { ::aya_log::init() }"), ["2 aya_log::init"]);
        assert_eq!(broken("cli/mod.rs", "use aya_obj as o;"), ["1 aya_obj"]);
        assert_eq!(broken("cli.rs", "extern crate aya;"), ["1 aya"]);
        assert_eq!(broken("probe/load.rs", "use aya::Ebpf;"), [""; 0]);
        assert_eq!(broken("probe.rs", "use aya::Ebpf;"), [""; 0]);
        assert_eq!(broken("run.rs", "// aya::Ebpf\nlet aya = \"aya::Ebpf\"; f(aya)"), [""; 0]);
    }

    #[test]
    fn the_terminal_stays_in_tui() {
        assert_eq!(broken("view/table.rs", "use ratatui::Frame;"), ["1 ratatui::Frame"]);
        assert_eq!(broken("run.rs", "use crossterm::event;"), ["1 crossterm::event"]);
        assert_eq!(broken("view/tui/render/rows.rs", "use ratatui::Frame;"), [""; 0]);
        assert_eq!(broken("view/tui.rs", "use crossterm::event;"), [""; 0]);
        assert_eq!(broken("view/tuition.rs", "use crossterm::event;"), ["1 crossterm::event"]);
    }

    #[test]
    fn model_and_decode_are_pure() {
        let clock = "use std::time::{Duration, Instant};";
        assert_eq!(broken("model/rate.rs", clock), ["1 std::time::Instant"]);
        assert_eq!(broken("decode.rs", "fn f() { SystemTime::now() }"), ["1 SystemTime::now"]);
        assert_eq!(broken("decode.rs", "use libc::clock_gettime;"), ["1 libc::clock_gettime"]);
        assert_eq!(broken("model.rs", "use std::{fs, fmt};"), ["1 std::fs"]);
        assert_eq!(broken("model.rs", "use tokio::time;"), ["1 tokio::time"]);
        assert_eq!(broken("decode/path.rs", "std::net::lookup()"), ["1 std::net::lookup"]);
        assert_eq!(broken("model.rs", "use std::time::Duration;"), [""; 0]);
        assert_eq!(broken("run.rs", clock), [""; 0]);
    }

    #[test]
    fn view_and_model_know_no_origin() {
        assert_eq!(broken("view/csv.rs", "use crate::source::Live;"), ["1 crate::source::Live"]);
        assert_eq!(broken("view/csv.rs", "use super::super::probe;"), ["1 crate::probe"]);
        assert_eq!(broken("model.rs", "use super::enrich::Paths;"), ["1 crate::enrich::Paths"]);
        assert_eq!(broken("model/a.rs", "use crate::{sample, source};"), ["1 crate::source"]);
        assert_eq!(broken("model/a.rs", "use syscost::source;"), ["1 crate::source"]);
        assert_eq!(broken("view/csv.rs", "use super::source; // view::source"), [""; 0]);
        assert_eq!(broken("view/csv.rs", "use crate::run::stat;"), ["1 crate::run::stat"]);
        assert_eq!(broken("view/csv.rs", "use crate::sources;"), [""; 0]);
        assert_eq!(broken("run.rs", "use crate::source::Live;"), [""; 0]);
    }

    #[test]
    fn no_import_climbs() {
        assert_eq!(broken("probe/cells.rs", "use crate::model::Row;"), ["1 crate::model::Row"]);
        assert_eq!(broken("target/mod.rs", "use crate::probe::x;"), ["1 crate::probe::x"]);
        assert_eq!(broken("cli/plan.rs", "crate::probe::Room"), ["1 crate::probe::Room"]);
        assert_eq!(broken("source/live.rs", "use crate::probe::Probe;"), [""; 0]);
        assert_eq!(broken("view/csv.rs", "use crate::model::Row;"), [""; 0]);
    }

    #[test]
    fn samples_and_recordings_hold_no_model() {
        assert_eq!(broken("sample.rs", "use crate::model::Row;"), ["1 crate::model::Row"]);
        assert_eq!(broken("record/reader.rs", "crate::view::x()"), ["1 crate::view::x"]);
        assert_eq!(broken("record/reader.rs", "use crate::decode;"), ["1 crate::decode"]);
        assert_eq!(
            broken("record.rs", "use std::fs; use crate::{record::frame, sample::Sample};"),
            [""; 0]
        );
    }

    #[test]
    fn the_outputs_have_one_door() {
        assert_eq!(broken("run/stat.rs", "use std::io::{self, stdout};"), ["1 std::io::stdout"]);
        assert_eq!(broken("demo.rs", "fn f() { std::io::stdout().lock() }"), ["1 std::io::stdout"]);
        assert_eq!(broken("run/stat.rs", "use std::io::stderr;"), ["1 std::io::stderr"]);
        assert_eq!(broken("view/tui/term.rs", "use std::io::stdout;"), [""; 0]);
        assert_eq!(broken("view/tui/term.rs", "use std::io::stderr;"), ["1 std::io::stderr"]);
        assert_eq!(broken("message.rs", "use std::io::{stderr, stdout};"), [""; 0]);
    }

    #[test]
    fn finished_calls_go_through_one_place() {
        let broken = |file, source| broken_in(&CRATES[1], file, source);
        assert_eq!(broken("syscall.rs", "use crate::{cells, maps};"), ["1 crate::cells"]);
        assert_eq!(broken("sched.rs", "crate::totals::add(x)"), ["1 crate::totals::add"]);
        assert_eq!(broken("finish.rs", "use crate::{cells, totals};"), [""; 0]);
        assert_eq!(broken("cells.rs", "use super::cells::Cell;"), [""; 0]);
        assert_eq!(broken("btf.rs", "mod cells;"), [""; 0]);
        assert_eq!(broken("syscall.rs", "use crate::finish;"), [""; 0]);
    }

    #[test]
    fn test_code_may_look_everywhere() {
        assert_eq!(broken("model/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }"), [""; 0]);
        assert_eq!(broken("model/tests.rs", "use std::fs;"), [""; 0]);
    }

    #[test]
    fn common_depends_on_nothing() {
        let lines = |text: &str| -> Vec<usize> {
            in_common_manifest("Cargo.toml", text).iter().map(|v| v.line).collect()
        };
        assert_eq!(
            lines("[dependencies]\n# none\n\n[dev-dependencies]\nproptest = \"1\"\n"),
            [0; 0]
        );
        assert_eq!(lines("[package]\nname = \"x\"\n[dependencies]\nlibc = \"1\"\n"), [4]);
        assert_eq!(lines("[dependencies.libc]\nversion = \"1\"\n"), [1, 2]);
        assert_eq!(lines("[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n"), [2]);
        assert!(in_common_library("lib.rs", "#![no_std]").unwrap().is_none());
        assert!(in_common_library("lib.rs", "//! no_std").unwrap().is_some());
    }

    #[test]
    fn text_from_outside_comes_by_one_door() {
        assert_eq!(broken("run/x.rs", "fn f() { p.display(); }"), ["1 display"]);
        assert_eq!(
            broken("x.rs", "let a = String::from_utf8_lossy(b);"),
            ["1 String::from_utf8_lossy"]
        );
        assert_eq!(broken("x.rs", "let a = word\n.to_string_lossy();"), ["2 to_string_lossy"]);
        assert_eq!(broken("decode/printable.rs", "fn f() { p.display(); }"), [""; 0]);
    }

    #[test]
    fn a_violation_names_place_rule_and_reason() {
        let violation =
            &in_source(&CRATES[0], "syscost/src/run.rs", "\nuse aya::Ebpf;").unwrap()[0];
        let text = violation.to_string();
        assert!(text.starts_with("syscost/src/run.rs:2: aya::Ebpf\n"), "{text}");
        assert!(text.contains("`probe` only") && text.contains("recording"), "{text}");
    }

    #[test]
    fn the_walls_hold() {
        if let Err(error) = check() {
            panic!("{error}: see `cargo xtask walls`");
        }
    }
}
