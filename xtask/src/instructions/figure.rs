//! What was counted of one contender.

/// What the worker did meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Calls of `getppid`; figures are for each call.
    Calls,
    /// A byte passed to and fro between two threads; figures are for each context switch.
    Switches,
    /// Nothing: the figure is that of attaching.
    Attach,
}

/// What was counted of one contender.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) work: Work,
    /// As the benchmark's `--only` takes it.
    pub(super) id: String,
    /// Instructions of the work alone.
    pub(super) untraced: f64,
    /// Instructions of the work and of what is attached.
    pub(super) traced: f64,
    /// For people.
    pub(super) name: String,
}

impl Figure {
    /// Reads `instructions WORK ID UNTRACED TRACED NAME…`, a line of the benchmark
    /// (`syscost/benches/overhead/instructions.rs`).
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("instructions ")?.splitn(5, ' ');
        let work = match words.next()? {
            "calls" => Work::Calls,
            "switches" => Work::Switches,
            "attach" => Work::Attach,
            _ => return None,
        };
        Some(Self {
            work,
            id: words.next()?.to_owned(),
            untraced: words.next()?.parse().ok()?,
            traced: words.next()?.parse().ok()?,
            name: words.next()?.to_owned(),
        })
    }

    /// What the contender adds.
    pub(super) fn added(&self) -> f64 {
        self.traced - self.untraced
    }
}

/// A number of instructions, with what is behind the point only if there is anything.
pub(super) fn show(instructions: f64) -> String {
    let text = format!("{instructions:.2}");
    text.strip_suffix(".00").unwrap_or(&text).to_owned()
}

/// How the runs differ: a line for each figure that is not the same in both, or is in one only.
pub(super) fn differences(first: &[Figure], other: &[Figure]) -> Vec<String> {
    let find = |figures: &[Figure], id: &str| figures.iter().find(|f| f.id == id).cloned();
    let mut lines = Vec::new();
    for one in first {
        match find(other, &one.id) {
            Some(two) if (two.untraced, two.traced) == (one.untraced, one.traced) => {}
            Some(two) => lines.push(format!(
                "{}: two runs differ: {} and {} instructions traced, {} and {} untraced",
                one.id,
                show(one.traced),
                show(two.traced),
                show(one.untraced),
                show(two.untraced)
            )),
            None => lines.push(format!("{}: counted in one run only", one.id)),
        }
    }
    let only_other = other.iter().filter(|two| find(first, &two.id).is_none());
    lines.extend(only_other.map(|two| format!("{}: counted in one run only", two.id)));
    lines
}

#[cfg(test)]
pub(super) fn figures(lines: &[&str]) -> Vec<Figure> {
    lines.iter().map(|line| Figure::parse(line).expect("a figure")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: &str = "instructions calls floor 337 671.5 two-clock floor";

    #[test]
    fn a_line_of_the_benchmark_is_a_figure() {
        let figure = Figure::parse(FLOOR).unwrap();
        assert_eq!((figure.work, figure.id.as_str()), (Work::Calls, "floor"));
        assert_eq!(figure.name, "two-clock floor");
        assert_eq!((figure.untraced, figure.traced, figure.added()), (337.0, 671.5, 334.5));
        for other in [
            "no instructions of syscount: it ended at once",
            "instructions calls floor 337",
            "instructions loops floor 337 671 two-clock floor",
            "instructions calls floor 337 many two-clock floor",
        ] {
            assert_eq!(Figure::parse(other), None, "{other}");
        }
    }

    #[test]
    fn runs_must_agree_to_the_instruction() {
        let first = figures(&[FLOOR, "instructions calls target 337 817 on its target"]);
        assert_eq!(differences(&first, &first), [""; 0]);
        let other = figures(&[FLOOR, "instructions calls target 337 817.02 on its target"]);
        assert_eq!(
            differences(&first, &other),
            ["target: two runs differ: 817 and 817.02 instructions traced, 337 and 337 untraced"]
        );
        let target_only = ["target: counted in one run only"];
        assert_eq!(differences(&first, &first[..1]), target_only);
        assert_eq!(differences(&first[..1], &first), target_only);
    }
}
