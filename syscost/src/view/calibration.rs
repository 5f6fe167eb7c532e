//! A calibration, for people and for programs.

use serde_json::json;

use super::format;
use crate::{
    decode::printable::printable,
    model::calibration::{Calibration, Indirect, Tax},
    spread::Spread,
};

/// Every figure with what it means.
pub fn text(calibration: &Calibration) -> String {
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
        "  What lies within its own spread of 0 is none that could be told from noise.".to_owned(),
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

    out.line("\nwhat makes crossings as dear as they are".to_owned());
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
    out.0
}

/// One JSON object, in a line.
pub fn json(calibration: &Calibration) -> String {
    let mut value = json!(calibration);
    value["schema"] = "syscost.calibrate/1".into();
    format!("{value}\n")
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
            let added = indirect.iter().map(|set| change(set.after[call].added_ns));
            self.line(cells(&indirect[0].after[call].call, added.collect()));
        }
    }
}

/// A difference and half the distance of its quartiles: `+610ns ±12`.
fn change(ns: Spread) -> String {
    let spread = format::ns_f64((ns.high - ns.low) / 2.0);
    match ns.median {
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
        insta::assert_snapshot!("calibration", text(&calibration()));
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
        insta::assert_snapshot!("calibration_in_part", text(&calibration));
    }

    #[test]
    fn json_is_what_is_kept_and_a_schema() {
        let value: serde_json::Value = serde_json::from_str(&json(&calibration())).unwrap();
        assert_eq!(value["schema"], "syscost.calibrate/1");
        assert_eq!(value["direct"]["syscall_ns"]["median"], 214.0);
        assert_eq!(value["direct"]["tax"]["because"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<Calibration>(value).unwrap(), calibration());
    }
}
