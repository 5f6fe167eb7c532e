//! The figures for people: a table for each kind of work, in Markdown, as the benchmark of time has them.

use super::figure::{Figure, Work, show};

/// The contenders that figures of a kind are given in multiples of, by their ids.
const fn units(work: Work) -> &'static [&'static str] {
    match work {
        Work::Calls => &["empty", "floor"],
        Work::Switches => &["switch-empty"],
        Work::Attach => &[],
    }
}

/// What the figures of a kind are of.
const fn title(work: Work) -> &'static str {
    match work {
        Work::Calls => "for each call",
        Work::Switches => "for each context switch, with a wake-up and two calls",
        Work::Attach => "of the tracer itself",
    }
}

/// The tables.
pub(super) fn tables(figures: &[Figure]) -> String {
    let mut text = String::new();
    for work in [Work::Calls, Work::Switches, Work::Attach] {
        let of_work: Vec<&Figure> = figures.iter().filter(|f| f.work == work).collect();
        if !of_work.is_empty() {
            text += &table(work, &of_work);
            text.push('\n');
        }
    }
    text
}

fn table(work: Work, figures: &[&Figure]) -> String {
    let units: Vec<(&str, Option<f64>)> = units(work)
        .iter()
        .map(|id| (*id, figures.iter().find(|f| f.id == *id).map(|unit| unit.added())))
        .collect();
    let mut head = format!("| instructions {} | all | added |", title(work));
    let mut line = "|---|---:|---:|".to_owned();
    for (id, _) in &units {
        head += &format!(" × {id} |");
        line += "---:|";
    }
    let mut text = format!("{head}\n{line}\n");
    let untraced = figures.first().map_or(0.0, |figure| figure.untraced);
    if untraced > 0.0 {
        text += &format!("| untraced | {} | |{}\n", show(untraced), " |".repeat(units.len()));
    }
    for figure in figures {
        let (traced, added) = (show(figure.traced), show(figure.added()));
        text += &format!("| {} (`{}`) | {traced} | {added} |", figure.name, figure.id);
        for (_, unit) in &units {
            match unit {
                Some(unit) => text += &format!(" {:.2} |", figure.added() / unit),
                None => text += " – |",
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::figure::figures;

    #[test]
    fn figures_are_shown_whole_added_and_in_multiples_of_the_floors() {
        let figures = figures(&[
            "instructions calls empty 337 555 empty pair",
            "instructions calls floor 337 671 two-clock floor",
            "instructions calls target 337 817.5 on its target",
            "instructions attach attach 0 400000000 until attached",
        ]);
        assert_eq!(
            tables(&figures),
            "| instructions for each call | all | added | × empty | × floor |\n\
             |---|---:|---:|---:|---:|\n\
             | untraced | 337 | | | |\n\
             | empty pair (`empty`) | 555 | 218 | 1.00 | 0.65 |\n\
             | two-clock floor (`floor`) | 671 | 334 | 1.53 | 1.00 |\n\
             | on its target (`target`) | 817.50 | 480.50 | 2.20 | 1.44 |\n\n\
             | instructions of the tracer itself | all | added |\n\
             |---|---:|---:|\n\
             | until attached (`attach`) | 400000000 | 400000000 |\n\n"
        );
        assert!(tables(&figures[2..3]).contains("| 817.50 | 480.50 | – | – |"));
    }
}
