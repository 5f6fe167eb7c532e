//! Counts are exact: over threads, over errors, over a million calls, and for nobody else's.

use aya::maps::{Map, Queue};
use syscost::{
    probe::{Probe, map_bytes_at_most},
    request::Request,
};
use syscost_common::cell::{self, Cell, OVERFLOW_SLOT};

use crate::{
    harness::{Stat, Target, choice, hooks, measure, newborn_exits},
    programs::map_of,
};

#[test]
fn every_call_of_one_thread_is_counted() {
    calls_are_exact(1, 10_000);
}

#[test]
fn every_call_of_4_threads_is_counted() {
    calls_are_exact(4, 10_000);
}

#[test]
fn every_call_of_64_threads_is_counted() {
    calls_are_exact(64, 1_000);
}

#[test]
fn of_a_million_calls_none_is_lost() {
    calls_are_exact(4, 250_000);
}

fn calls_are_exact(threads: u64, each: u64) {
    for hooks in hooks() {
        let measured = measure(&["calls", &threads.to_string(), &each.to_string()], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), threads * each, "{hooks}");
        assert_eq!(measured.errors("getppid"), 0);
        assert_eq!(measured.count("getpgid"), threads * each / 10);
        assert_eq!(measured.errors("getpgid"), threads * each / 10);
        let getpgid = measured.row("getpgid").unwrap();
        assert_eq!(getpgid["errnos"]["ESRCH"], threads * each / 10);
        // Each worker's exit and the first thread's exit_group.
        assert_eq!(measured.ledger("ended_without_exit"), threads + 1);
        assert_eq!(measured.ledger("in_flight"), 0);
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.0["target_exited"], true);
    }
}

#[test]
fn intervals_add_up_to_the_whole() {
    let [mut first, mut second] = [(), ()].map(|()| Target::start(&["calls", "4", "50000"]));
    let pids = format!("{},{}", first.pid(), second.pid());
    let mut stat = Stat::start(&["-i", "20ms", "-p", &pids]);
    first.work();
    // However fast the machine is, an interval ends between the two.
    let mut intervals = vec![stat.interval(), stat.interval()];
    second.work();
    [first, second].into_iter().for_each(Target::end);
    intervals.extend(stat.finish_intervals());
    for interval in &intervals {
        assert_eq!(
            interval.0["window"],
            if interval.0["attached_ns"] == interval.0["window_ns"] {
                "since_attach"
            } else {
                "interval"
            }
        );
    }
    let sum = |name: &str| intervals.iter().map(|interval| interval.count(name)).sum::<u64>();
    assert_eq!(sum("getppid"), 400_000);
    assert_eq!(sum("getpgid"), 40_000);
    let errors: u64 = intervals.iter().map(|interval| interval.errors("getpgid")).sum();
    assert_eq!(errors, 40_000);
    // One after the other, without a gap: the windows add up to the time attached.
    let time = |field: &str| -> Vec<u64> {
        intervals.iter().map(|interval| interval.0[field].as_u64().unwrap()).collect()
    };
    assert_eq!(time("window_ns").iter().sum::<u64>(), *time("attached_ns").last().unwrap());
}

#[test]
fn diagnostics_are_accepted_by_the_verifier_and_silent_when_nothing_is_lost() {
    for hooks in hooks() {
        let mut target = Target::start(&["calls", "4", "1000"]);
        let stat = Stat::attach(target.pid(), &["--verbose", "--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 4_000);
    }
}

#[test]
fn threads_that_come_and_go_are_counted_whole() {
    for hooks in hooks() {
        let measured = measure(&["churn", "500", "10"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 5_000, "{hooks}");
        // Each of them leaves its parent's clone without having entered it, and dies in exit.
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(500));
        assert_eq!(measured.ledger("ended_without_exit"), 501);
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

#[test]
fn a_call_that_blocks_50_ms_lands_in_the_right_bucket() {
    for hooks in hooks() {
        let measured = measure(&["sleep", "10", "50"], &hooks);
        measured.assert_exact();
        let row = measured.row("nanosleep").unwrap();
        assert_eq!(row["count"], 10);
        let shortest = row["min_ns"].as_u64().unwrap();
        assert!(shortest >= 50_000_000, "a sleep of 50 ms took {shortest} ns");
        let first = &row["histogram"][0];
        let (low, high) = (first["lo_ns"].as_u64().unwrap(), first["hi_ns"].as_u64().unwrap());
        assert!(low <= shortest && shortest <= high, "{shortest} in {low}..={high}");
        assert!(high - low < shortest / 16, "{low}..={high} is wider than 1/16");
    }
}

#[test]
fn calls_of_other_processes_are_not_counted() {
    for hooks in hooks() {
        let measured = measure(&["forks", "20", "100"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 0, "{hooks}: the children's calls");
        assert_eq!(measured.count("clone") + measured.count("fork"), 20);
        assert_eq!(measured.count("wait4"), 20);
        // The children are other processes: their side of the fork is theirs.
        assert_eq!(measured.ledger("newborn_exits"), 0);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_32_bit_call_is_a_row_of_its_own() {
    // Every kernel that is tested has BTF, which is what it takes with either kind of hooks.
    for hooks in hooks() {
        let measured = measure(&["int80", "300"], &hooks);
        measured.assert_exact();
        let row = measured.rows().find(|row| row["abi"] == "i386").expect("an i386 row");
        assert_eq!(row["name"], "getpid", "{hooks}");
        assert_eq!(row["nr"], 20);
        assert_eq!(row["count"], 300);
        assert_eq!(row["errors"], 0);
        // The same number of the native table.
        assert_eq!(measured.count("writev"), 600);
        assert_eq!(measured.errors("writev"), 600);
    }
}

/// Whether the kernel makes x32 calls or refuses them, they are x32 calls.
#[test]
#[cfg(target_arch = "x86_64")]
fn an_x32_call_is_a_row_of_its_own() {
    let number = ((1 << 30) + 39).to_string();
    for hooks in hooks() {
        let measured = measure(&["numbers", &number, &number, "5"], &hooks);
        measured.assert_exact();
        let row = measured.rows().find(|row| row["abi"] == "x32").expect("an x32 row");
        assert_eq!(row["name"], "getpid", "{hooks}");
        assert_eq!(row["nr"], 39);
        assert_eq!(row["count"], 5);
        assert!(row["errors"] == 0 || row["errnos"]["ENOSYS"] == 5, "{row}");
        assert!(measured.rows().all(|row| row["name"] != "getpid" || row["abi"] == "x32"));
    }
}

#[test]
fn number_minus_one_is_no_call() {
    for hooks in hooks() {
        let measured =
            measure(&["numbers", "18446744073709551615", "18446744073709551615", "5"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("out-of-range"), 0, "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 5);
    }
}

#[test]
fn numbers_that_no_table_knows_are_counted_too() {
    for hooks in hooks() {
        let measured = measure(&["numbers", "1000", "1030", "7"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("unknown(1000)"), 7, "{hooks}");
        assert_eq!(measured.errors("unknown(1000)"), 7);
        // 1023 to 1030 have no kind of their own.
        assert_eq!(measured.count("out-of-range"), 8 * 7);
    }
}

#[test]
fn more_kinds_than_slots_share_a_row_and_say_so() {
    for hooks in hooks() {
        let measured = measure(&["numbers", "600", "999", "5"], &hooks);
        measured.assert_consistent();
        assert_eq!(measured.0["exact"], false);
        let unknown: Vec<u64> = measured
            .rows()
            .filter(|row| row["name"].as_str().unwrap().starts_with("unknown("))
            .map(|row| row["count"].as_u64().unwrap())
            .collect();
        // 159 slots, some of them taken by what the target does besides.
        assert!((100..=159).contains(&unknown.len()), "{}", unknown.len());
        assert!(unknown.iter().all(|count| *count == 5), "{unknown:?}");
        let shared = measured.ledger("slots_full");
        assert_eq!(measured.count("(other)"), shared);
        assert!(unknown.iter().sum::<u64>() + shared >= 400 * 5, "nothing is lost");
    }
}

/// The queue of free slots has a lock for all CPUs: once it was found empty, it is not asked again.
#[test]
fn no_slot_is_looked_for_when_there_was_none() {
    for hooks in hooks() {
        let mut first = Target::start(&["numbers", "600", "899", "1"]);
        let mut second = Target::start(&["numbers", "900", "949", "1"]);
        let [one, other] = [&first, &second].map(|target| target.pid().to_string());
        let stat = Stat::start(&["-p", &one, "-p", &other, "--hooks", &hooks]);
        first.work();
        let free = Map::Queue(map_of(stat.pid(), "FREE_SLOTS"));
        let mut free: Queue<_, u32> = free.try_into().expect("a queue of slots");
        assert!(free.pop(0).is_err(), "{hooks}: all are handed out");
        free.push(OVERFLOW_SLOT, 0).expect("there is room");
        second.work();
        assert_eq!(free.pop(0).ok(), Some(OVERFLOW_SLOT), "{hooks}: nothing was asked for");
        [first, second].into_iter().for_each(Target::end);
        let measured = stat.finish();
        measured.assert_consistent();
        assert_eq!(measured.count("(other)"), measured.ledger("slots_full"));
        assert!(measured.ledger("slots_full") >= 300 + 50 - 159, "{hooks}");
    }
}

/// The bound for large hosts is arithmetic; on this one it is held against the kernel's account.
#[test]
fn the_maps_take_no_more_memory_than_the_arithmetic_says() {
    let cpus = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last: u32 = cpus.trim().rsplit(['-', ',']).next().unwrap().parse().unwrap();
    let bound = map_bytes_at_most(last + 1);
    for hooks in hooks() {
        let hooks = choice(&hooks);
        let probe =
            Probe::attach(&Request { hooks, ..Request::process(std::process::id()) }).unwrap();
        let bytes = probe.map_bytes().unwrap();
        assert!(bytes <= bound, "{hooks:?}: {bytes} of {bound}");
        // Nor so much less that the bound says nothing.
        assert!(bytes >= cell::count(last + 1) as u64 * size_of::<Cell>() as u64);
    }
}
