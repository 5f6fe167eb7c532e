//! What these hooks do not see, and what disturbs them, in words.

use crate::{model::Model, view::format};

/// Sentences without their full stop, for headers and below tables.
pub fn notes(model: &Model) -> Vec<String> {
    [io_uring(model), tracers(model)].into_iter().flatten().collect()
}

/// The operations of a ring make no system calls.
fn io_uring(model: &Model) -> Option<String> {
    if !model.uses_io_uring {
        return None;
    }
    let workers = match model.io_workers_ns.value() {
        Some(ns @ 1..) => {
            let time = format::reading(model.io_workers_ns.map(|_| ns), format::ns);
            format!("; its kernel threads used {time} of CPU time")
        }
        _ => String::new(),
    };
    Some(format!("io_uring is used: its operations are not visible here{workers}"))
}

/// Each program at these hooks runs within the latency that the others measure.
fn tracers(model: &Model) -> Option<String> {
    match model.other_tracers {
        None | Some(0) => None,
        Some(1) => Some(
            "1 other BPF program was at these hooks when attached: latencies include it".into(),
        ),
        Some(n) => Some(format!(
            "{n} other BPF programs were at these hooks when attached: latencies include them"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reading::Reading, sample::Sample, view::fixture};

    fn notes_of(change: impl FnOnce(&mut Sample)) -> Vec<String> {
        let mut sample = fixture::nginx();
        change(&mut sample);
        notes(&Model::since_attach(&sample))
    }

    #[test]
    fn nothing_is_said_where_nothing_disturbs() {
        assert!(notes_of(|_| {}).is_empty());
        assert!(notes_of(|sample| sample.other_tracers = Some(0)).is_empty());
    }

    #[test]
    fn a_ring_is_told_of_with_the_time_of_its_threads() {
        let ring = notes_of(|sample| sample.ring_at_attach = true);
        assert_eq!(ring, ["io_uring is used: its operations are not visible here"]);
        let workers = notes_of(|sample| sample.cpu.io_workers_ns = Reading::Exact(2_000_000));
        assert_eq!(
            workers,
            [
                "io_uring is used: its operations are not visible here; its kernel threads used 2.0ms of CPU time"
            ]
        );
    }

    #[test]
    fn other_tracers_are_counted() {
        let one = notes_of(|sample| sample.other_tracers = Some(1));
        assert!(one[0].starts_with("1 other BPF program was at these hooks"), "{one:?}");
        let two = notes_of(|sample| sample.other_tracers = Some(2));
        assert!(two[0].starts_with("2 other BPF programs were at these hooks"), "{two:?}");
    }
}
