use std::time::Duration;

use super::*;
use crate::model::column::{COLUMNS, Key};

fn parse_line(line: &str) -> Result<Plan, Stop> {
    parse(line.split_whitespace().map(OsString::from), None)
}

fn stat(line: &str) -> StatPlan {
    match parse_line(line) {
        Ok(Plan::Stat(plan)) => plan,
        other => panic!("{line}: {other:?}"),
    }
}

fn usage(line: &str) -> String {
    match parse_line(line) {
        Err(Stop::Usage(message)) => {
            assert!(!message.contains('\n'), "{line}: more than one line: {message}");
            message
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_pid_alone_means_top() {
    let plan = parse_line("syscost -p 1234").unwrap();
    assert_eq!(plan, parse_line("syscost top -p 1234").unwrap());
    assert_eq!(plan, parse_line("syscost top --pid=1234 --interval 1s").unwrap());
    let Plan::Top(top) = plan else { panic!("{plan:?}") };
    assert_eq!(top.pid, 1234);
    assert_eq!(top.interval, Duration::from_secs(1));
    assert_eq!(
        top.common,
        Common { hooks: HookChoice::Auto, verbose: false, color: ColorChoice::Auto }
    );
}

#[test]
fn stat_has_sensible_defaults() {
    let plan = stat("syscost stat -p 1");
    assert_eq!(plan.duration, None);
    assert_eq!(plan.interval, None);
    assert_eq!(plan.format, Format::Table);
    assert_eq!(plan.sort, Key::Time);
    assert!(!plan.reverse);
    assert_eq!(plan.top, None);
    assert_eq!(plan.output, None);
}

#[test]
fn stat_takes_everything_at_once() {
    let plan = stat("syscost stat -p 7 -d 2m -i 500ms --csv --sort p99 -r -n 5 -o out.csv");
    assert_eq!(plan.pid, 7);
    assert_eq!(plan.duration, Some(Duration::from_secs(120)));
    assert_eq!(plan.interval, Some(Duration::from_millis(500)));
    assert_eq!(plan.format, Format::Csv);
    assert_eq!(plan.sort, Key::P99);
    assert!(plan.reverse);
    assert_eq!(plan.top, Some(5));
    assert_eq!(plan.output, Some("out.csv".into()));
    assert_eq!(stat("syscost stat -p 7 --json").format, Format::Json);
}

#[test]
fn a_lone_hyphen_is_stdout() {
    assert_eq!(stat("syscost stat -p 7 -o -").output, None);
}

#[test]
fn every_column_can_be_sorted_by() {
    for column in COLUMNS {
        let plan = stat(&format!("syscost stat -p 1 --sort {}", column.id));
        assert_eq!(plan.sort, column.key);
    }
}

#[test]
fn check_and_demo_need_no_target() {
    assert!(matches!(
        parse_line("syscost check --json"),
        Ok(Plan::Check(CheckPlan { json: true, .. }))
    ));
    assert!(matches!(parse_line("syscost demo"), Ok(Plan::Demo(DemoPlan { duration: None, .. }))));
    let Ok(Plan::Demo(demo)) = parse_line("syscost demo --seconds 30") else { panic!() };
    assert_eq!(demo.duration, Some(Duration::from_secs(30)));
}

#[test]
fn common_options_stand_before_or_after_the_command() {
    for line in ["syscost --hooks raw -v stat -p 1", "syscost stat -p 1 --hooks raw --verbose"] {
        let common = parse_line(line).unwrap().common();
        assert_eq!(common.hooks, HookChoice::Raw, "{line}");
        assert!(common.verbose, "{line}");
    }
}

#[test]
fn no_color_counts_unless_empty() {
    let color = |line: &str, env: Option<&str>| {
        let args = line.split_whitespace().map(OsString::from);
        parse(args, env.map(OsStr::new)).unwrap().common().color
    };
    assert_eq!(color("syscost -p 1", None), ColorChoice::Auto);
    assert_eq!(color("syscost -p 1", Some("")), ColorChoice::Auto);
    assert_eq!(color("syscost -p 1", Some("1")), ColorChoice::Never);
    assert_eq!(color("syscost -p 1 --no-color", None), ColorChoice::Never);
}

#[test]
fn without_a_target_the_error_says_how_to_give_one() {
    let expected = "no target: give a PID with -p (for example `syscost -p 1234`)";
    assert_eq!(usage("syscost"), expected);
    assert_eq!(usage("syscost -i 2s"), expected);
    assert!(usage("syscost stat").contains("`syscost stat -p 1234`"));
    assert!(usage("syscost top").contains("`syscost top -p 1234`"));
}

/// Every way to get it wrong, with its one line.
#[test]
fn usage_errors_are_one_clear_line() {
    let lines = [
        "syscost -p",
        "syscost -p 0",
        "syscost -p -5",
        "syscost -p +5",
        "syscost -p nginx",
        "syscost -p 2147483648",
        "syscost -p 99999999999999999999999",
        "syscost -p 1 -p 2",
        "syscost -p 1 stat",
        "syscost -i 1s stat -p 1",
        "syscost -p 1 -i 0",
        "syscost -p 1 -i 9ms",
        "syscost -p 1 -i -1",
        "syscost -p 1 -i soon",
        "syscost -p 1 -i 9999h",
        "syscost -p 1 --hooks kprobe",
        "syscost -p 1 --frobnicate",
        "syscost --no-colour -p 1",
        "syscost frobnicate",
        "syscost 1234",
        "syscost statt -p 1",
        "syscost stat -p 0",
        "syscost stat -p 1 extra",
        "syscost stat -p 1 -d 0",
        "syscost stat -p 1 -d 5x",
        "syscost stat -p 1 -d 1s -i 2s",
        "syscost stat -p 1 --json --csv",
        "syscost stat -p 1 --sort luck",
        "syscost stat -p 1 -n 0",
        "syscost stat -p 1 -n -1",
        "syscost stat -p 1 -n many",
        "syscost check -p 1",
        "syscost demo --seconds 0",
        "syscost demo --seconds never",
    ];
    let errors: Vec<String> =
        lines.iter().map(|line| format!("$ {line}\nsyscost: {}", usage(line))).collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn errors_never_break_the_line_or_drive_the_terminal() {
    for args in [["syscost", "-p", "1\n\x1b[2J"], ["syscost", "-p1", "--x\x1b[2J"]] {
        let Err(Stop::Usage(message)) = parse(args.map(OsString::from), None) else { panic!() };
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn the_longest_pid_is_accepted() {
    assert_eq!(stat("syscost stat -p 2147483647").pid, i32::MAX as u32);
}

#[test]
fn an_interval_may_be_as_long_as_the_duration() {
    assert_eq!(stat("syscost stat -p 1 -d 1 -i 1000ms").interval, Some(Duration::from_secs(1)));
}

#[test]
fn help_and_version_are_answers() {
    for line in ["syscost --help", "syscost -h", "syscost help stat", "syscost stat --help"] {
        assert!(matches!(parse_line(line), Err(Stop::Answer(_))), "{line}");
    }
    let version = concat!("syscost ", env!("CARGO_PKG_VERSION"), "\n").to_owned();
    assert_eq!(parse_line("syscost --version"), Err(Stop::Answer(version)));
}

fn help(command: Option<&str>) -> String {
    let args = ["syscost"].into_iter().chain(command).chain(["--help"]);
    let error = args::Args::command().term_width(100).try_get_matches_from(args).unwrap_err();
    error.render().to_string()
}

#[test]
fn help_texts() {
    insta::assert_snapshot!("help", help(None));
    for command in ["top", "stat", "check", "demo"] {
        insta::assert_snapshot!(format!("help_{command}"), help(Some(command)));
    }
}

#[test]
fn every_help_has_examples_and_exit_codes_and_fits() {
    for command in [None, Some("top"), Some("stat"), Some("check"), Some("demo")] {
        let help = help(command);
        assert!(help.contains("EXAMPLES\n") && help.contains("EXIT CODES\n"), "{command:?}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{command:?}");
    }
}
