//! The figures that are committed, and whether what is counted now is more.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use super::figure::{Figure, show};
use crate::sh;

/// Where the figures are kept, from the root.
const RECORD: &str = "syscost/ebpf/instructions.tsv";
const HEADER: &str = "contender\tinstructions\tadded over untraced";

/// What the line of the kernel begins with.
const LINUX: &str = "# Linux ";

/// Growth of what is added beyond this share of it is a failure.
const TOLERANCE_PERCENT: f64 = 3.0;

/// Of these it is not: no change of ours makes a difference to them, but a newer kernel does, and a newer peer.
const NOT_OURS: [&str; 4] = ["empty", "floor", "switch-empty", "syscount"];

/// What the record has: the kernel that was counted on, and what each contender adds.
#[derive(Debug, Default, PartialEq)]
struct Record {
    linux: String,
    /// By id: instructions with the contender, and those that it adds.
    contenders: BTreeMap<String, (f64, f64)>,
}

impl Record {
    fn read(text: &str) -> Self {
        let linux = text.lines().find_map(|line| line.strip_prefix(LINUX)).unwrap_or_default();
        let contenders = text.lines().filter_map(|line| {
            let words: Vec<&str> = line.split('\t').collect();
            let [id, traced, added] = words[..] else { return None };
            Some((id.to_owned(), (traced.parse().ok()?, added.parse().ok()?)))
        });
        Self { linux: linux.to_owned(), contenders: contenders.collect() }
    }

    fn write(&self) -> String {
        let mut text = format!("{LINUX}{}\n{HEADER}\n", self.linux);
        for (id, (traced, added)) in &self.contenders {
            text += &format!("{id}\t{}\t{}\n", show(*traced), show(*added));
        }
        text
    }

    /// What is wrong with `figures`: a line each.
    fn faults(&self, figures: &[Figure]) -> Vec<String> {
        let mut faults = Vec::new();
        for figure in figures {
            let (id, now) = (&figure.id, figure.added());
            match self.contenders.get(id) {
                None => faults.push(format!("{id}: not in {RECORD}")),
                Some(_) if NOT_OURS.contains(&id.as_str()) => {}
                Some((_, before)) if now > before * (1.0 + TOLERANCE_PERCENT / 100.0) => {
                    let percent = (now / before - 1.0) * 100.0;
                    faults.push(format!(
                        "{id}: adds {} instructions, {} before: {percent:.1} % more",
                        show(now),
                        show(*before)
                    ));
                }
                Some(_) => {}
            }
        }
        faults
    }
}

/// Whether the record is of another Linux than `linux`: its own instructions may differ, so that a growth need not be ours.
/// Says so.
pub(super) fn is_of_another(linux: &str) -> bool {
    let text = fs::read_to_string(sh::root().join(RECORD)).unwrap_or_default();
    let recorded = Record::read(&text).linux;
    let is_another = !recorded.is_empty() && recorded != linux;
    if is_another {
        println!(
            "{RECORD} is of Linux {recorded}, this is Linux {linux}: nothing that follows is a failure; record anew with \
             cargo xtask bench --instructions --accept"
        );
    }
    is_another
}

/// Compares with the record, or with `accept` rewrites it; says whether all is well. `in_part`: not every contender was
/// counted, so that the record keeps the others.
pub(super) fn compare(
    linux: &str,
    figures: &[Figure],
    accept: bool,
    in_part: bool,
) -> Result<bool> {
    let path = sh::root().join(RECORD);
    let mut record = Record::read(&fs::read_to_string(&path).unwrap_or_default());
    if !accept {
        let faults = record.faults(figures);
        for fault in &faults {
            println!("{fault}");
        }
        if !faults.is_empty() {
            println!("if that is as it must be: cargo xtask bench --instructions --accept");
        }
        return Ok(faults.is_empty());
    }
    if !in_part {
        record.contenders.clear();
    }
    record.linux = linux.to_owned();
    record.contenders.extend(figures.iter().map(|f| (f.id.clone(), (f.traced, f.added()))));
    fs::write(&path, record.write()).with_context(|| format!("cannot write {RECORD}"))?;
    println!("{RECORD} is written");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::figure::figures;

    fn faults_of(before: &str, now: &str) -> Vec<String> {
        Record::read(before).faults(&figures(&[now]))
    }

    #[test]
    fn what_is_written_is_read() {
        let contenders =
            [("floor".to_owned(), (671.0, 334.0)), ("target".to_owned(), (817.5, 480.5))];
        let record = Record { linux: "6.12.1".to_owned(), contenders: contenders.into() };
        let text = record.write();
        assert_eq!(
            text,
            "# Linux 6.12.1\ncontender\tinstructions\tadded over untraced\n\
             floor\t671\t334\ntarget\t817.50\t480.50\n"
        );
        assert_eq!(Record::read(&text), record);
    }

    #[test]
    fn growth_of_what_is_added_is_a_fault() {
        let before = "target\t737\t400\n";
        assert_eq!(faults_of(before, "instructions calls target 337 749 x"), [""; 0]);
        assert_eq!(
            faults_of(before, "instructions calls target 337 749.5 x"),
            ["target: adds 412.50 instructions, 400 before: 3.1 % more"]
        );
        assert_eq!(faults_of(before, "instructions calls target 337 338 x"), [""; 0]);
    }

    #[test]
    fn a_contender_without_a_record_is_a_fault() {
        assert_eq!(
            faults_of("target\t737\t400\n", "instructions calls host 337 749 x"),
            ["host: not in syscost/ebpf/instructions.tsv"]
        );
    }

    #[test]
    fn growth_of_what_is_not_ours_is_none() {
        assert_eq!(faults_of("floor\t737\t400\n", "instructions calls floor 337 1000 x"), [""; 0]);
    }
}
