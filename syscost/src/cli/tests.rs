use std::time::Duration;

use super::*;
use crate::{
    filter::Filter,
    group::GroupBy,
    model::column::{COLUMNS, Key},
    request::{HookChoice, Room},
};

fn parse_line(line: &str) -> Result<Plan, Stop> {
    parse(line.split_whitespace().map(OsString::from), Environment::default())
}

fn process(pid: u32) -> TargetPlan {
    TargetPlan::Processes { pids: vec![pid], follow: false }
}

fn stat(line: &str) -> StatPlan {
    match parse_line(line) {
        Ok(Plan::Stat(plan)) => plan,
        other => panic!("{line}: {other:?}"),
    }
}

fn top(line: &str) -> TopPlan {
    match parse_line(line) {
        Ok(Plan::Top(plan)) => plan,
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
    assert_eq!(top.target, Some(process(1234)));
    assert!(top.filter.is_everything());
    assert_eq!(top.interval, Duration::from_secs(1));
    assert_eq!(
        top.common,
        Common {
            hooks: HookChoice::Auto,
            room: Room::default(),
            verbose: false,
            color: ColorChoice::Auto,
            ascii: false,
            dumb: false
        }
    );
}

#[test]
fn stat_has_sensible_defaults() {
    let plan = stat("syscost stat -p 1");
    assert_eq!(plan.duration, None);
    assert_eq!(plan.interval, None);
    assert_eq!(plan.format, Format::Table);
    assert_eq!(plan.sort, Key::OnCpu);
    assert!(!plan.reverse);
    assert_eq!(plan.top, None);
    assert_eq!(plan.output, None);
}

#[test]
fn stat_takes_everything_at_once() {
    let plan = stat("syscost stat -p 7 -d 2m -i 500ms --csv --sort p99 -r -n 5 -o out.csv");
    assert_eq!(plan.target, process(7));
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
    let sort = |id: &str| stat(&format!("syscost stat -p 1 --sort {id}")).sort;
    for column in COLUMNS {
        for name in [column.id, column.field].into_iter().chain(column.json) {
            assert_eq!(sort(name), column.key, "{name}");
        }
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
fn no_colours_are_drawn_where_they_are_unwelcome() {
    let color = |line: &str, environment: Environment| {
        let args = line.split_whitespace().map(OsString::from);
        parse(args, environment).unwrap().common().color
    };
    let (plain, dumb) = (Environment::default(), Environment { dumb: true, ..Default::default() });
    let unwelcome = Environment { no_color: true, ..Default::default() };
    assert_eq!(color("syscost -p 1", plain), ColorChoice::Auto);
    assert_eq!(color("syscost -p 1", unwelcome), ColorChoice::Never);
    assert_eq!(color("syscost -p 1", dumb), ColorChoice::Never);
    assert_eq!(color("syscost -p 1 --no-color", plain), ColorChoice::Never);
}

#[test]
fn without_a_target_top_lists_processes_and_stat_says_how_to_give_one() {
    for line in ["syscost", "syscost -i 2s", "syscost top", "syscost -e read"] {
        assert_eq!(top(line).target, None, "{line}");
    }
    let expected = "no target: give a process with -p, all with -a, or a command after -- (for \
                    example `syscost stat -p 1234`)";
    assert_eq!(usage("syscost stat"), expected);
    assert_eq!(usage("syscost stat -d 5 --"), expected);
}

#[test]
fn processes_are_named_one_by_one_or_in_lists() {
    let pids = |line: &str| match top(line).target {
        Some(TargetPlan::Processes { pids, follow: false }) => pids,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(pids("syscost -p 30,4,30 -p 5 --pid=4,1"), [30, 4, 5, 1]);
    // As `pidof` prints them.
    let args = ["syscost", "-p", "7 8\n"].map(OsString::from);
    let Ok(Plan::Top(plan)) = parse(args, Environment::default()) else { panic!() };
    assert_eq!(plan.target, Some(TargetPlan::Processes { pids: vec![7, 8], follow: false }));
}

#[test]
fn every_target_is_understood_by_top_and_stat() {
    let targets = [
        ("-p 1 -f", TargetPlan::Processes { pids: vec![1], follow: true }),
        ("--follow -p 1", TargetPlan::Processes { pids: vec![1], follow: true }),
        ("-t 7,8,7", TargetPlan::Threads(vec![7, 8])),
        ("--tid 7 -t 8", TargetPlan::Threads(vec![7, 8])),
        ("--comm nginx", TargetPlan::Comm("nginx".to_owned())),
        ("--comm -bash", TargetPlan::Comm("-bash".to_owned())),
        ("--comm exactly15bytes_", TargetPlan::Comm("exactly15bytes_".to_owned())),
        ("--cgroup /system.slice", TargetPlan::Cgroup("/system.slice".into())),
        ("--container 4c01db0b339c", TargetPlan::Container("4c01db0b339c".to_owned())),
        ("--uid 0", TargetPlan::User("0".to_owned())),
        ("--uid www-data", TargetPlan::User("www-data".to_owned())),
        ("-a", TargetPlan::Host),
        ("--all", TargetPlan::Host),
        ("-- ls -l", TargetPlan::Command(vec!["ls".into(), "-l".into()])),
        ("-f -- ls", TargetPlan::Command(vec!["ls".into()])),
    ];
    for (words, target) in targets {
        assert_eq!(top(&format!("syscost {words}")).target, Some(target.clone()), "{words}");
        assert_eq!(top(&format!("syscost top {words}")).target, Some(target.clone()), "{words}");
        assert_eq!(stat(&format!("syscost stat {words}")).target, target, "{words}");
    }
}

#[test]
fn everything_after_the_two_hyphens_belongs_to_the_command() {
    let command =
        |words: &str| TargetPlan::Command(words.split_whitespace().map(OsString::from).collect());
    let words = "stat -p 1 -- --help -e reed --no-such-option";
    assert_eq!(top(&format!("syscost -- {words}")).target, Some(command(words)));
    let plan = stat(&format!("syscost stat -d 5 -- {words}"));
    assert_eq!(plan.target, command(words));
    assert_eq!(plan.duration, Some(Duration::from_secs(5)));
    assert!(plan.filter.is_everything());
    // What is wrong before them is about the command that stands there.
    assert_eq!(
        usage("syscost --frobnicate -- stat"),
        "unexpected argument '--frobnicate' found; see `syscost --help`"
    );
}

#[test]
fn a_command_need_not_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(vec![b'a', 0xff]);
    let args = ["syscost".into(), "--".into(), odd.clone()];
    let Ok(Plan::Top(plan)) = parse(args, Environment::default()) else { panic!() };
    assert_eq!(plan.target, Some(TargetPlan::Command(vec![odd])));
}

#[test]
fn filters_are_understood_by_top_and_stat() {
    let filter = |calls: &str| Filter::everything().with_calls(calls).unwrap();
    let filters = [
        ("-e read,write", filter("read,write")),
        ("-e trace=%file", filter("%file")),
        ("-e !futex --failed", filter("!futex").failed()),
        ("--failed", Filter::everything().failed()),
        ("--errno ENOENT,11", Filter::everything().with_errnos("2,11").unwrap()),
        ("--errno 2 --failed", Filter::everything().with_errnos("ENOENT").unwrap()),
        ("-e all", Filter::everything()),
    ];
    for (words, filter) in filters {
        assert_eq!(top(&format!("syscost -p 1 {words}")).filter, filter, "{words}");
        assert_eq!(stat(&format!("syscost stat -p 1 {words}")).filter, filter, "{words}");
    }
}

#[test]
fn rows_stand_for_syscalls_unless_asked() {
    assert_eq!(stat("syscost stat -a").by, GroupBy::Syscall);
    for group in GroupBy::ALL {
        assert_eq!(stat(&format!("syscost stat -a --by {}", group.id())).by, group);
    }
}

#[test]
fn an_argument_with_lines_of_its_own_is_shown_whole() {
    let args = ["syscost", "a\nb"].map(OsString::from);
    let Err(Stop::Usage(line)) = parse(args, Environment::default()) else { panic!("an error") };
    assert!(line.contains(r"unexpected argument 'a\nb' found; "), "{line}");
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
        "syscost -p ,",
        "syscost -p 1,x",
        "syscost -p 1 -p 1,-2",
        "syscost -t 0",
        "syscost -p 1 -t 2",
        "syscost -a --comm nginx",
        "syscost stat --uid root --cgroup / --container web",
        "syscost -p 1 -- ls",
        "syscost -a -a",
        "syscost -f",
        "syscost -f -a",
        "syscost -f -t 1",
        "syscost -f --comm nginx",
        "syscost -f --uid root",
        "syscost -f --cgroup /",
        "syscost -f --container web",
        "syscost --comm=",
        "syscost --comm chromium-browser",
        "syscost --comm fourteen-bytesé",
        "syscost --cgroup=",
        "syscost --container=",
        "syscost --uid=",
        "syscost --uid -5",
        "syscost --uid 4294967295",
        "syscost -p 1 -e",
        "syscost -p 1 -e reed",
        "syscost -p 1 -e %flie",
        "syscost -p 1 -e=",
        "syscost -p 1 -e read -e write",
        "syscost -p 1 --errno ENONET,ENOSUCH",
        "syscost -p 1 --errno -2",
        "syscost stat -p 1 --by luck",
        "syscost stat -a --names",
        "syscost stat --cgroup / --names",
        "syscost -p 1 --by process",
        "syscost -p 1 stat",
        "syscost -i 1s stat -p 1",
        "syscost -p 1 -f stat",
        "syscost -f stat -p 1",
        "syscost -t 1,2 stat",
        "syscost --comm nginx stat",
        "syscost --cgroup / stat",
        "syscost --container web stat",
        "syscost --uid root stat",
        "syscost -a stat",
        "syscost -e read stat -p 1",
        "syscost --failed stat -p 1",
        "syscost --errno 2 stat -p 1",
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
        "syscost stat 1234",
        "syscost -p 1 2 3",
        "syscost top -p=7,8 -f 9",
        "syscost -p7 8",
        "syscost nginx",
        "syscost -p nginx -f",
        "syscost -t nginx",
        "syscost -p a-name-of-more-than-15-bytes",
        "syscost stat --pid=1 2",
        "syscost statt -p 1",
        "syscost ls -l",
        "syscost top ls",
        "syscost stat -p 0",
        "syscost stat -p 1 extra",
        "syscost stat -p 1 -d 0",
        "syscost stat -p 1 -d 5x",
        "syscost stat -p 1 -d 1s -i 2s",
        "syscost stat -p 1 --json --csv",
        "syscost stat -p 1 --sort luck",
        "syscost stat -p 1 --by process --sort p99",
        "syscost stat -p 1 -n 0",
        "syscost stat -p 1 -n -1",
        "syscost stat -p 1 -n many",
        "syscost check -p 1",
        "syscost check ls",
        "syscost demo -- ls",
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
        let Err(Stop::Usage(message)) = parse(args.map(OsString::from), Environment::default())
        else {
            panic!()
        };
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn the_longest_pid_is_accepted() {
    assert_eq!(stat("syscost stat -p 2147483647").target, process(i32::MAX as u32));
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
    for command in ["top", "stat", "check", "calibrate", "demo"] {
        insta::assert_snapshot!(format!("help_{command}"), help(Some(command)));
    }
}

#[test]
fn every_help_has_examples_and_exit_codes_and_fits() {
    for command in [None, Some("top"), Some("stat"), Some("check"), Some("calibrate"), Some("demo")]
    {
        let help = help(command);
        assert!(help.contains("EXAMPLES\n") && help.contains("EXIT CODES\n"), "{command:?}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{command:?}");
    }
}
