//! What was measured, as tables in Markdown.

use crate::{
    rounds::Series,
    stats::{quartiles, spread},
    work::Work,
};

/// A table of the contenders that are measured by one kind of work.
struct Table {
    work: Work,
    per: &'static str,
    untraced: &'static str,
    /// The contender that the others are given in multiples of.
    unit: &'static str,
    unit_name: &'static str,
}

const TABLES: [Table; 2] = [
    Table {
        work: Work::Calls,
        per: "per call",
        untraced: "untraced `getppid`",
        unit: "floor",
        unit_name: "two-clock floor",
    },
    Table {
        work: Work::Switches,
        per: "per context switch",
        untraced: "untraced: a switch, a wakeup, two calls",
        unit: "switch-empty",
        unit_name: "empty programs",
    },
];

pub(crate) fn print(all: &[Series]) {
    for table in TABLES {
        let of_work = |series: &&Series| series.contender.work == table.work;
        let rows: Vec<&Series> = all.iter().filter(of_work).collect();
        if !rows.is_empty() {
            table.print(&rows);
            println!();
        }
    }
}

impl Table {
    fn print(&self, rows: &[&Series]) {
        println!("| {} | added ns (median) | quartiles | × {} |", self.per, self.unit_name);
        println!("|---|---:|---:|---:|");
        let untraced: Vec<f64> = rows.iter().flat_map(|series| series.untraced()).collect();
        if !untraced.is_empty() {
            let alone = spread(&untraced);
            println!("| {} | ({:.0}) | {} | |", self.untraced, alone.median, quartiles(alone));
        }
        let unit = rows.iter().find(|series| series.contender.id == self.unit);
        for series in rows {
            let name = series.contender.name;
            let added = series.added();
            if added.is_empty() {
                println!("| {name} | – | | |");
                continue;
            }
            let ratios = unit.map(|unit| series.ratios_to(unit)).unwrap_or_default();
            let ratio = if ratios.is_empty() {
                "–".to_owned()
            } else {
                format!("{:.2}", spread(&ratios).median)
            };
            let added = spread(&added);
            println!("| {name} | {:.0} | {} | {ratio} |", added.median, quartiles(added));
        }
        for series in rows {
            if let Some(why) = &series.failed {
                eprintln!("{}: not measured: {why}", series.contender.name);
            }
        }
    }
}
