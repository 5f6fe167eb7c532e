//! Compares how many instructions the verifier looked at in each program, on each kernel, with a record.
//!
//! If the number grows, a kernel may soon refuse the program, or takes long to load it. The source does not show which
//! change makes the verifier work harder.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use crate::sh;

/// The file of the record, from the repository's root.
const RECORD: &str = "syscost/ebpf/verifier.tsv";
const HEADER: &str = "kernel\thooks\tprogram\tinstructions verified";

/// Growth beyond this share of the recorded number is a failure.
const TOLERANCE_PERCENT: u64 = 25;

/// The verifier's work on one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// Kernel, hooks and program.
    key: [String; 3],
    /// `None`: the kernel does not report it.
    instructions: Option<u64>,
}

impl Count {
    /// Reads `verifier HOOKS PROGRAM NUMBER`, a line of the kernel tests.
    pub(super) fn parse(kernel: &str, line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["verifier", hooks, program, number] = words[..] else { return None };
        let instructions = if number == "-" { None } else { Some(number.parse().ok()?) };
        Some(Self { key: [kernel, hooks, program].map(str::to_owned), instructions })
    }

    fn of_record(line: &str) -> Option<Self> {
        let (kernel, rest) = line.split_once('\t')?;
        Self::parse(kernel, &format!("verifier {rest}"))
    }
}

/// Compares with the record and returns whether nothing has grown too far. With `accept`, rewrites the record instead.
pub(super) fn compare(counts: Vec<Count>, accept: bool) -> Result<bool> {
    let path = sh::root().join(RECORD);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut record: BTreeMap<_, _> =
        text.lines().filter_map(Count::of_record).map(|c| (c.key, c.instructions)).collect();
    if !accept {
        let faults = faults(&record, &counts);
        for fault in &faults {
            println!("{fault}");
        }
        if !faults.is_empty() {
            println!("if this growth is intended: cargo xtask kernels --accept");
        }
        return Ok(faults.is_empty());
    }
    // The numbers of kernels that did not run this time stay.
    record.retain(|key, _| counts.iter().all(|count| count.key[0] != key[0]));
    record.extend(counts.into_iter().map(|count| (count.key, count.instructions)));
    let mut text = format!("{HEADER}\n");
    for (key, instructions) in record {
        let number = instructions.map_or_else(|| "-".to_owned(), |number| number.to_string());
        text += &format!("{}\t{number}\n", key.join("\t"));
    }
    fs::write(&path, text).with_context(|| format!("cannot write {RECORD}"))?;
    println!("{RECORD} is written");
    Ok(true)
}

fn faults(record: &BTreeMap<[String; 3], Option<u64>>, counts: &[Count]) -> Vec<String> {
    let mut faults = Vec::new();
    for Count { key, instructions } in counts {
        let name = key.join(" ");
        match (record.get(key), instructions) {
            (None, _) => faults.push(format!("{name}: not in {RECORD}")),
            (Some(Some(before)), Some(now)) if now * 100 > before * (100 + TOLERANCE_PERCENT) => {
                faults.push(format!(
                    "{name}: the verifier looked at {now} instructions, {before} before"
                ));
            }
            _ => {}
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(before: &str, now: &str) -> usize {
        let before = Count::of_record(before).map(|count| (count.key, count.instructions));
        faults(&before.into_iter().collect(), &[Count::parse("6.1", now).unwrap()]).len()
    }

    #[test]
    fn growth_beyond_a_quarter_is_a_fault_and_so_is_a_program_without_a_record() {
        let before = "6.1\tbtf\tsys_exit\t1000";
        assert_eq!(faults_of(before, "verifier btf sys_exit 1250"), 0);
        assert_eq!(faults_of(before, "verifier btf sys_exit 1251"), 1);
        assert_eq!(faults_of(before, "verifier btf sys_exit 10"), 0);
        assert_eq!(faults_of(before, "verifier btf sys_enter 10"), 1);
        assert_eq!(faults_of("6.1\traw\tsys_exit\t-", "verifier raw sys_exit -"), 0);
        assert_eq!(faults_of(HEADER, "verifier raw sys_exit -"), 1);
    }

    #[test]
    fn other_lines_are_no_counts() {
        assert_eq!(Count::parse("6.1", "test verifier ... ok"), None);
        assert_eq!(Count::of_record(HEADER), None);
    }
}
