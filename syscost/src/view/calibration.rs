//! A calibration, as text and as JSON.

use std::path::Path;

use serde_json::json;

use super::{format, json_line};
use crate::{
    decode::printable::{path, printable},
    model::calibration::{Calibration, Indirect, Tax},
    spread::Spread,
};

/// Every figure with what it means. `kept_in`: the file that it is kept in.
pub fn text(calibration: &Calibration, kept_in: Option<&Path>) -> String {
    let Calibration { cpu, rounds, direct, indirect, counters, machine } = calibration;
    let mut out = Text::default();
    let processor = printable(&machine.processor);
    let below = machine.hypervisor.as_deref().map(|name| format!(", under {}", printable(name)));
    let below = below.unwrap_or_default();
    out.line(format!(
        "{processor}, {} CPUs{below}; measured on CPU {cpu}, medians of {rounds} rounds (quartiles)",
        machine.cpus
    ));

    out.line("\ndirect: what a crossing costs by itself".to_owned());
    let (bare, vdso) = (direct.syscall_ns, direct.clock_vdso_ns);
    out.figure("getppid", "", Some(bare), "into the kernel and back, next to nothing done there");
    let note = "read the clock: the kernel's work comes on top";
    out.figure("clock_gettime, system call", "", Some(direct.clock_syscall_ns), note);
    let times = direct.clock_syscall_ns.median / vdso.median.max(0.1);
    let note = if times >= 2.0 {
        format!("the same without crossing: {times:.0} times cheaper")
    } else {
        format!("no cheaper: with the clock source {}, it crosses too", machine.clock_source)
    };
    out.figure("clock_gettime, vDSO", "", Some(vdso), &note);
    let Tax { target_ns, bystander_ns, because } = &direct.tax;
    let why = because.as_deref().map(printable).unwrap_or_default();
    let note = if why.is_empty() { "what measuring adds to each call" } else { &why };
    out.figure("syscost, on its target", "+", *target_ns, note);
    let note = if why.is_empty() { "what it adds to each call of all others" } else { &why };
    out.figure("syscost, on a bystander", "+", *bystander_ns, note);

    out.line(
        "\nindirect: how much longer the program's own work takes right after a call, by the size \
         of its data"
            .to_owned(),
    );
    out.indirect(indirect);
    out.line(
        "  ±: how far off a figure may be. Covers its own spread, what is measured without a call, and \
         figures below 0.\n  A cost that may be 0 cannot be told from noise."
            .to_owned(),
    );

    out.line("\ninstructions per cycle in user mode, of the work on 24 KiB".to_owned());
    match &counters.because {
        Some(because) => {
            out.line(format!("  {}: {}", format::NOT_COLLECTED, printable(because)));
        }
        None => {
            for ipc in &counters.user_ipc {
                let call = ipc.call.as_deref().unwrap_or("alone");
                out.line(format!("  {call:<28}{:>8.2}", ipc.ipc.median));
            }
        }
    }

    out.line("\nwhy crossings cost what they cost".to_owned());
    let dear: Vec<_> = machine.mitigations.iter().filter(|flaw| flaw.cost.is_some()).collect();
    if dear.is_empty() {
        out.line("  no mitigation on the way in or out, as far as the kernel reports".to_owned());
    }
    for flaw in dear {
        let cost = flaw.cost.as_deref().unwrap_or_default();
        out.line(format!("  {:<28}{cost}", printable(&flaw.flaw)));
        out.line(format!("  {:<28}({})", "", printable(&flaw.status)));
    }
    out.line(format!("  {:<28}{}", "clock source", printable(&machine.clock_source)));
    if let Some(path) = kept_in {
        let path = self::path(path);
        out.line(format!("\nkept until the machine is started anew, in {}", printable(&path)));
    }
    out.0
}

/// What is said when it is not kept: why, and how to get a better one.
pub fn too_noisy(calibration: &Calibration) -> String {
    let Spread { median, low, high } = calibration.direct.syscall_ns;
    let [median, low, high] = [median, low, high].map(format::ns_f64);
    format!(
        "too noisy to be kept: getppid took {median}, with quartiles {low} and {high}; repeat it while \
         the machine is idle, with the CPU's governor `performance` where there is one"
    )
}

/// One JSON object, in a line.
pub fn json(calibration: &Calibration, kept_in: Option<&Path>) -> String {
    let mut value = json!(calibration);
    value["schema"] = "syscost.calibrate/1".into();
    value["steady"] = calibration.is_steady().into();
    for (set, of) in
        value["indirect"].as_array_mut().into_iter().flatten().zip(&calibration.indirect)
    {
        set["error_ns"] = of.error_ns().into();
    }
    value["kept_in"] = kept_in.map(path).into();
    json_line::text(&value)
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: String) {
        self.0 += &line;
        self.0.push('\n');
    }

    fn figure(&mut self, name: &str, sign: &str, ns: Option<Spread>, note: &str) {
        let (median, quartiles) = match ns {
            None => (format::NOT_COLLECTED.to_owned(), String::new()),
            Some(ns) => (
                format!("{sign}{}", format::ns_f64(ns.median)),
                format!("({}–{})", format::ns_f64(ns.low), format::ns_f64(ns.high)),
            ),
        };
        self.line(format!("  {name:<28}{median:>8} {quartiles:<15} {note}"));
    }

    fn indirect(&mut self, indirect: &[Indirect]) {
        let cells = |first: &str, cells: Vec<String>| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>16}")).collect();
            format!("  {first:<16}{cells}")
        };
        let sizes = indirect.iter().map(|set| format!("{} KiB", set.working_set_bytes >> 10));
        self.line(cells("", sizes.collect()));
        let alone = indirect.iter().map(|set| format::ns_f64(set.alone_ns.median));
        self.line(cells("alone", alone.collect()));
        let calls = indirect.first().map_or(0, |set| set.after.len());
        for call in 0..calls {
            let added = indirect.iter().map(|set| {
                let after = &set.after[call];
                change(after.added_ns.median, set.uncertainty_ns(after))
            });
            self.line(cells(&indirect[0].after[call].call, added.collect()));
        }
        let control =
            indirect.iter().map(|set| change(set.control_ns.median, set.control_ns.half_width()));
        self.line(cells("no call", control.collect()));
    }
}

/// A difference, ns, and how far off it may be: `+610ns ±12ns`.
fn change(median: f64, uncertainty: f64) -> String {
    let spread = format::ns_f64(uncertainty);
    match median {
        median if median.abs() < 0.5 => format!("0 ±{spread}"),
        median if median < 0.0 => format!("-{} ±{spread}", format::ns_f64(-median)),
        median => format!("+{} ±{spread}", format::ns_f64(median)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::calibration::{After, Counters, Direct, Ipc, Machine, Mitigation};

    fn spread(median: f64) -> Spread {
        Spread { median, low: median - 2.0, high: median + 3.0 }
    }

    fn calibration() -> Calibration {
        let set = |kib: usize, alone: f64, added: f64| Indirect {
            working_set_bytes: kib << 10,
            alone_ns: spread(alone),
            control_ns: spread(-1.0),
            after: [("getppid", 0.01), ("read of 64 KiB", 1.0)]
                .map(|(call, share)| After {
                    call: call.to_owned(),
                    added_ns: spread(added * share - 1.0),
                })
                .to_vec(),
        };
        Calibration {
            cpu: 1,
            rounds: 25,
            direct: Direct {
                syscall_ns: spread(214.0),
                clock_syscall_ns: spread(268.0),
                clock_vdso_ns: spread(24.0),
                tax: Tax {
                    target_ns: Some(spread(394.0)),
                    bystander_ns: Some(spread(219.0)),
                    because: None,
                },
            },
            indirect: vec![set(8, 520.0, 700.0), set(512, 61_000.0, 9_000.0)],
            counters: Counters {
                user_ipc: vec![
                    Ipc { call: None, ipc: spread(4.0) },
                    Ipc { call: Some("read of 64 KiB".to_owned()), ipc: spread(3.0) },
                ],
                because: None,
            },
            machine: Machine {
                processor: "Some CPU".to_owned(),
                cpus: 2,
                hypervisor: Some("KVM".to_owned()),
                clock_source: "tsc".to_owned(),
                mitigations: [
                    Mitigation::new("meltdown", "Mitigation: PTI"),
                    Mitigation::new("spectre_v1", "Mitigation: usercopy/swapgs barriers"),
                ]
                .into_iter()
                .flatten()
                .collect(),
            },
        }
    }

    #[test]
    fn a_whole_calibration() {
        let kept_in = Path::new("/run/syscost/calibration.json");
        insta::assert_snapshot!("calibration", text(&calibration(), Some(kept_in)));
    }

    #[test]
    fn what_could_not_be_measured_says_why() {
        let mut calibration = calibration();
        calibration.direct.tax =
            Tax { because: Some("it takes CAP_BPF".to_owned()), ..Tax::default() };
        calibration.direct.clock_vdso_ns = spread(260.0);
        calibration.counters =
            Counters { user_ipc: Vec::new(), because: Some("no hardware counters".to_owned()) };
        calibration.machine.mitigations.clear();
        calibration.machine.hypervisor = None;
        calibration.machine.clock_source = "hpet".to_owned();
        insta::assert_snapshot!("calibration_in_part", text(&calibration, None));
    }

    #[test]
    fn a_noisy_one_says_how_to_get_a_better_one() {
        let mut calibration = calibration();
        assert!(calibration.is_steady());
        calibration.direct.syscall_ns = Spread { median: 137.0, low: 103.0, high: 467.0 };
        assert!(!calibration.is_steady());
        let said = too_noisy(&calibration);
        assert_eq!(said.lines().count(), 1);
        for words in ["137ns", "103ns", "467ns", "idle", "performance"] {
            assert!(said.contains(words), "{words:?} in {said}");
        }
    }

    #[test]
    fn json_is_what_is_kept_and_a_schema() {
        let value: serde_json::Value = serde_json::from_str(&json(&calibration(), None)).unwrap();
        assert_eq!(value["schema"], "syscost.calibrate/1");
        assert_eq!(value["direct"]["syscall_ns"]["median"], 214.0);
        assert_eq!(value["direct"]["tax"]["because"], serde_json::Value::Null);
        assert_eq!(value["steady"], true);
        // Three off, by a spread of 2 to 3 around -1.
        assert_eq!(value["indirect"][0]["error_ns"], 3.5);
        assert_eq!(value["kept_in"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<Calibration>(value).unwrap(), calibration());
    }
}
