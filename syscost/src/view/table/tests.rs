use syscost_common::ledger::Counter;

use super::*;
use crate::{
    costs::{Calibrated, Costs, ProgramsCost},
    group::GroupBy,
    sample::{Detail, DetailSample, GroupKey, Sample},
    spread::Spread,
    view::fixture,
};

fn table(model: &Model, options: &TableOptions) -> String {
    let mut out = Vec::new();
    write(&mut out, model, options).unwrap();
    String::from_utf8(out).unwrap()
}

fn default(sample: &Sample) -> String {
    with_costs(sample, fixture::COSTS)
}

fn with_costs(sample: &Sample, costs: Costs) -> String {
    table(&Model::since_attach(sample).with(costs), &TableOptions::default())
}

fn top(top: usize) -> TableOptions {
    TableOptions { order: Order { top: Some(top), ..Order::default() }, ..Default::default() }
}

#[test]
fn exact_table() {
    insta::assert_snapshot!(default(&fixture::nginx()));
}

#[test]
fn inexact_table_says_which_numbers_may_be_low_and_why() {
    insta::assert_snapshot!(default(&fixture::lossy_nginx()));
}

#[test]
fn empty_table() {
    let mut sample = fixture::sample(Vec::new());
    sample.subject.exited = true;
    insta::assert_snapshot!(default(&sample));
}

#[test]
fn top_rows_are_followed_by_the_sum_of_the_rest() {
    insta::assert_snapshot!(table(&fixture::since_attach(&fixture::nginx()), &top(2)));
}

#[test]
fn nothing_is_left_out_of_a_top_that_holds_all() {
    let model = fixture::since_attach(&fixture::nginx());
    assert_eq!(table(&model, &top(99)), default(&fixture::nginx()));
}

#[test]
fn an_interval_is_a_stretch_of_the_time_since_attach() {
    let model = fixture::interval(&fixture::nginx_a_second_later(), &fixture::nginx());
    insta::assert_snapshot!(table(&model, &TableOptions::default()));
}

#[test]
fn a_column_that_is_sorted_by_is_shown() {
    let order = Order { sort: Key::Min, reversed: true, top: Some(3) };
    let options = TableOptions { order, width: Some(120), ..Default::default() };
    insta::assert_snapshot!(table(&fixture::since_attach(&fixture::nginx()), &options));
}

#[test]
fn a_narrow_terminal_loses_columns_rather_than_alignment() {
    let model = fixture::since_attach(&fixture::nginx());
    let narrow = table(&model, &TableOptions { width: Some(80), ..Default::default() });
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    insta::assert_snapshot!(narrow);
}

#[test]
fn what_costs_cpu_time_comes_first_and_what_waits_last() {
    let table = default(&fixture::nginx());
    let names: Vec<_> =
        table.lines().skip(4).take(4).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["read", "epoll_wait", "write", "futex"]);
}

#[test]
fn without_parts_the_time_decides_and_the_table_says_why() {
    let sample = fixture::without_parts(fixture::nginx());
    insta::assert_snapshot!(default(&sample));
    let sample = fixture::without_parts(fixture::grouped(GroupBy::Process));
    insta::assert_snapshot!("groups_without_parts", default(&sample));
}

#[test]
fn parts_of_some_calls_are_lower_bounds() {
    insta::assert_snapshot!(default(&fixture::partly_parted_nginx()));
}

#[test]
fn what_was_shed_and_sampled_is_said() {
    let mut sample = fixture::without_parts(fixture::nginx());
    sample.detail = DetailSample { parts: true, level: Detail::Sampling(16), ..sample.detail };
    sample.ledger.counters[Counter::Unparted as usize] = 44_804;
    sample.ledger.counters[Counter::Sampled as usize] = 2_800;
    sample.ledger.counters[Counter::SampledOut as usize] = 42_004;
    insta::assert_snapshot!(default(&sample));
    let programs = ProgramsCost {
        run_pct: 8.1,
        run_ns: None,
        budget_pct: Some(2.0),
        detail: sample.detail.level,
    };
    let costs = Costs { programs: Some(programs), ..fixture::COSTS };
    let told = with_costs(&sample, costs);
    assert!(told.contains("OVER THE BUDGET of 2.0%: the hooks alone cost 8.1%"), "{told}");
}

#[test]
fn the_boundary_is_shown_where_it_is_known() {
    let sample = fixture::nginx();
    assert!(default(&sample).contains("BOUNDARY"));
    assert!(!with_costs(&sample, Costs::default()).contains("BOUNDARY"));
    let crossing_ns = Spread { median: 137.0, low: 103.0, high: 467.0 };
    let noisy = Calibrated { crossing_ns, ..fixture::CALIBRATED };
    let noisy = with_costs(&sample, Costs { calibrated: Some(noisy), ..Costs::default() });
    assert!(!noisy.contains("BOUNDARY"), "less than its own spread");
}

#[test]
fn a_row_for_each_process() {
    insta::assert_snapshot!(default(&fixture::grouped(GroupBy::Process)));
}

#[test]
fn a_row_for_each_cgroup_of_the_first() {
    let model = fixture::since_attach(&fixture::grouped(GroupBy::Cgroup));
    insta::assert_snapshot!(table(&model, &top(1)));
}

#[test]
fn a_file_has_room_for_all_columns() {
    let mut sample = fixture::lossy_nginx();
    for kind in &mut sample.kinds {
        kind.buckets[0] += 1 << 50;
    }
    let wide = default(&sample);
    assert!(wide.lines().any(|line| line.chars().count() > 100), "{wide}");
    let mut shown = COLUMNS.iter().filter(|column| column.stat != Priority::Sorted);
    assert!(shown.all(|column| wide.contains(column.title)), "{wide}");
}

#[test]
fn a_name_cannot_drive_the_terminal() {
    let mut sample = fixture::nginx();
    sample.subject.measured = fixture::process("a\x1b[2J\nb");
    assert!(default(&sample).starts_with("a\\u{1b}[2J\\nb (pid 1234)"));
}

#[test]
fn times_have_three_digits_and_a_unit() {
    let times = [0, 999, 1_000, 9_994, 9_995, 99_949, 999_499, 999_500, 65_000_000_000];
    let expected =
        ["0ns", "999ns", "1.00µs", "9.99µs", "10.0µs", "99.9µs", "999µs", "1.00ms", "65.0s"];
    assert_eq!(times.map(time), expected);
    assert_eq!(time(1_234_567_000_000), "1,235s");
}

#[test]
fn counts_are_in_full() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(format::full), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(
        [0.0, 0.2, 12.34, 99.96, 12_400.4].map(per_sec),
        ["0.00", "0.20", "12.3", "100", "12,400"]
    );
}

#[test]
fn colours_set_off_headings_and_verdicts_and_change_nothing_else() {
    let plain = TableOptions::default();
    let colored = TableOptions { color: true, ..plain };
    for (sample, verdict) in [
        (fixture::nginx(), "\x1b[1;38;5;33mEXACT\x1b[0m"),
        (fixture::lossy_nginx(), "\x1b[1;38;5;166mNOT EXACT\x1b[0m:"),
    ] {
        let model = fixture::since_attach(&sample);
        let text = table(&model, &colored);
        assert!(text.contains(verdict) && text.contains("\n\x1b[1mSYSCALL "), "{text}");
        assert!(!table(&model, &plain).contains('\x1b'));
        let mut without = text;
        for style in [BOLD, GOOD, ALARM, "0"] {
            without = without.replace(&format!("\x1b[{style}m"), "");
        }
        assert_eq!(without, table(&model, &plain));
    }
}

/// The columns behind a name begin at the same place, whatever the name takes.
#[test]
fn wide_names_keep_the_columns_in_line() {
    let mut sample = fixture::grouped(GroupBy::Comm);
    let groups = &mut sample.groups.as_mut().unwrap().groups;
    for (group, name) in groups.iter_mut().zip(["数据库服务", "ordinary", "e\u{301}t\u{e9}"]) {
        group.key = GroupKey::Comm(name.to_owned());
    }
    let text = default(&sample);
    let lines: Vec<&str> = text.lines().collect();
    let heading = lines.iter().position(|line| line.starts_with("COMM")).unwrap();
    let end = lines[heading].beginning(usize::MAX).columns();
    let rows = lines[heading + 1..].iter().take_while(|line| !line.is_empty());
    let widths: Vec<usize> = rows.map(|line| line.columns()).collect();
    assert!(widths.len() >= 3, "{text}");
    assert!(widths.iter().all(|width| *width == end), "{widths:?} of {end}:\n{text}");
}

#[test]
fn a_table_in_ascii_keeps_its_columns_whatever_names_are() {
    let mut sample = fixture::grouped(GroupBy::Comm);
    let groups = &mut sample.groups.as_mut().unwrap().groups;
    groups[0].key = GroupKey::Comm("größe".to_owned());
    let text = table(
        &Model::since_attach(&sample),
        &TableOptions { ascii: true, width: Some(120), ..Default::default() },
    );
    assert!(text.is_ascii() && !text.contains('?'), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let from = lines.iter().position(|line| line.contains("CALLS")).unwrap();
    let ends = |line: &str, cell: &str| line.find(cell).map(|at| at + cell.len());
    let column = ends(lines[from], "CALLS").unwrap();
    let row = lines[from..].iter().find(|line| line.starts_with(r"gr\u{f6}\u{df}e")).unwrap();
    assert_eq!(ends(row, "4,800"), Some(column), "{text}");
}
