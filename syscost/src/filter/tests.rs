use syscost_common::kind::{AbiClass, KINDS, NR_OUT_OF_RANGE, pack};

use super::*;
use crate::decode::syscall::{self, Abi};

fn calls(expression: &str) -> Filter {
    Filter::everything().with_calls(expression).unwrap_or_else(|error| panic!("{error}"))
}

fn error(expression: &str) -> String {
    Filter::everything().with_calls(expression).unwrap_err()
}

/// The kind of a native call.
fn native(name: &str) -> u32 {
    kind(AbiClass::Native, name).unwrap_or_else(|| panic!("no native {name}"))
}

fn kind(abi: AbiClass, name: &str) -> Option<u32> {
    let nr = (0..NR_OUT_OF_RANGE).find(|nr| syscall::name(Abi::of(abi), *nr) == name);
    nr.map(|nr| pack(abi, nr))
}

/// The names of the wanted native calls, in the order of their numbers.
fn wanted(filter: &Filter) -> Vec<String> {
    let native = |nr: &u32| filter.wants(pack(AbiClass::Native, *nr));
    (0..NR_OUT_OF_RANGE)
        .filter(native)
        .map(|nr| syscall::name(Abi::of(AbiClass::Native), nr).into_owned())
        .collect()
}

#[test]
fn everything_is_wanted_by_default() {
    let all = Filter::default();
    assert!(all.is_everything() && !all.restricts_kinds());
    assert_eq!(all.outcome(), &Outcome::Any);
    assert_eq!(all.selection().describe(), None);
    assert!((0..KINDS).all(|kind| all.wants(kind)));
    for expression in ["all", "!none", "trace=all", "!!all"] {
        assert_eq!(calls(expression), all, "{expression}");
    }
}

#[test]
fn names_select_themselves_only() {
    let filter = calls("write,read,,fsync,");
    let mut names = wanted(&filter);
    names.sort_unstable();
    assert_eq!(names, ["fsync", "read", "write"]);
    assert!(filter.restricts_kinds() && !filter.is_everything());
    assert_eq!(calls("trace=read"), calls("read"));
    assert_eq!(calls("t=read"), calls("read"));
}

#[test]
fn a_name_selects_the_call_of_every_abi() {
    let filter = calls("read");
    let selected: Vec<u32> = (0..KINDS).filter(|kind| filter.wants(*kind)).collect();
    let mut abis = vec![AbiClass::Native, AbiClass::Compat];
    if cfg!(target_arch = "x86_64") {
        abis.push(AbiClass::X32);
    }
    let expected: Vec<u32> = abis.iter().filter_map(|abi| kind(*abi, "read")).collect();
    assert_eq!(selected, expected);
    assert_eq!(expected.len(), abis.len());
}

#[test]
fn a_class_selects_the_calls_of_32_bits_as_well() {
    let filter = calls("%stat,%ipc");
    for name in ["stat64", "semget"] {
        let compat = kind(AbiClass::Compat, name).unwrap();
        assert!(filter.wants(compat), "{name}");
    }
    assert!(!filter.wants(native("read")));
}

#[test]
fn classes_have_old_names_too() {
    for class in ["file", "process", "network", "signal", "ipc", "desc", "memory"] {
        assert_eq!(wanted(&calls(class)), wanted(&calls(&format!("%{class}"))), "{class}");
        assert!(!wanted(&calls(class)).is_empty(), "{class}");
    }
    assert_eq!(wanted(&calls("%net")), wanted(&calls("%network")));
    assert!(calls("ipc").wants(native("shmget")));
}

#[test]
fn an_exclamation_mark_turns_the_whole_set_round() {
    let filter = calls("!%file,read");
    assert!(!filter.wants(native("read")));
    assert!(!filter.wants(native("openat")));
    assert!(filter.wants(native("write")));
    assert_eq!(wanted(&calls("!!read")), ["read"]);
    assert_eq!(calls("trace=!futex"), calls("!futex"));
}

#[test]
fn numbers_without_a_name_are_wanted_only_where_all_others_are() {
    let nameless = [
        pack(AbiClass::Native, 1000),
        pack(AbiClass::Native, NR_OUT_OF_RANGE),
        pack(AbiClass::Compat, NR_OUT_OF_RANGE),
    ];
    for kind in nameless {
        assert!(Filter::default().wants(kind));
        assert!(calls("!read").wants(kind));
        assert!(!calls("%file,/.").wants(kind));
        assert!(!calls("read,all").wants(kind));
        assert!(!calls("none").wants(kind));
    }
}

#[test]
fn nothing_can_be_wanted() {
    for expression in ["none", "!all", "?frobnicate", "?/frobnicate", "?%frobnicate"] {
        let filter = calls(expression);
        assert!((0..KINDS).all(|kind| !filter.wants(kind)), "{expression}");
        assert_eq!(
            filter.selection().describe().as_deref(),
            Some("nothing selected"),
            "{expression}"
        );
    }
}

#[test]
fn a_question_mark_excuses_names_that_do_not_exist() {
    assert_eq!(wanted(&calls("?frobnicate,read")), ["read"]);
    assert_eq!(wanted(&calls("?read")), ["read"]);
    assert_eq!(wanted(&calls("read,all")), wanted(&calls("/.")));
}

#[test]
fn a_slash_begins_a_regular_expression() {
    assert_eq!(wanted(&calls("/^getsock")), ["getsockname", "getsockopt"]);
    let filter = calls("/sock(name|opt)$");
    assert!(filter.wants(native("setsockopt")) && !filter.wants(native("socket")));
}

#[test]
fn wrong_expressions_are_explained_in_one_line() {
    let lines = [
        ("reed", "reed: no such system call; did you mean read?"),
        ("read,opne", "opne: no such system call; did you mean open?"),
        ("READ", "READ: no such system call; see `man 2 syscalls` for their names"),
        ("", "'': names no calls; read,write or %file would"),
        ("!", "'!': names no calls; read,write or %file would"),
        ("trace=,", "'trace=,': names no calls; read,write or %file would"),
        ("%flie", "%flie: no such class; did you mean %file?"),
        ("all,reed", "reed: no such system call; did you mean read?"),
        ("read,?", "?: no such system call; see `man 2 syscalls` for their names"),
        ("read,!write", "!write: `!` is for the whole list; put it before the first name"),
        ("read,none", "none: no such system call; see `man 2 syscalls` for their names"),
        (
            "signal=none",
            "signal=none: only `trace=` is known; see --failed and --errno for results",
        ),
        ("1", "1: a number means another call in each ABI; give a name"),
        (
            "/frobnicate",
            "/frobnicate: matches no system call; see `man 2 syscalls` for their names",
        ),
    ];
    for (expression, message) in lines {
        assert_eq!(error(expression), message);
    }
    assert!(error("%zzz").starts_with("%zzz: no such class; use one of %file, %desc, %network, "));
    let message = error("?/(");
    assert!(message.starts_with("/(: not a regular expression: "), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn an_outcome_can_be_asked_for_with_and_without_calls() {
    let failed = Filter::everything().failed();
    assert_eq!(failed.outcome(), &Outcome::Failed);
    assert!(!failed.is_everything() && !failed.restricts_kinds());
    let errnos = failed.with_errnos("ENOENT").unwrap();
    assert_eq!(errnos.outcome(), &Outcome::Errnos(vec![2]));
    assert_eq!(errnos.clone().failed(), errnos);
    assert!(Filter::everything().with_errnos("ENOSUCH").is_err());
}

#[test]
fn a_header_echoes_what_the_user_wrote() {
    let describe = |expression: &str| calls(expression).selection().describe().unwrap();
    assert_eq!(describe("trace=read,write"), "only read, write");
    assert_eq!(describe("!%file,read"), "all but %file, read");
    assert_eq!(
        calls("read,write").failed().selection().describe().as_deref(),
        Some("only read, write · only failed")
    );
    assert_eq!(
        Filter::everything().with_errnos("11,ENOENT").unwrap().selection().describe().as_deref(),
        Some("only ENOENT, EAGAIN")
    );
    assert_eq!(
        describe("read,write,openat,close,fstat,mmap,munmap,futex"),
        "only read, write, openat, close, fstat, mmap and 2 more"
    );
    assert_eq!(
        describe(&format!("/{},read", "read|".repeat(20))),
        "only /read|read|read|read|read|read|read|rea… and 1 more"
    );
    assert_eq!(describe("read,?a\u{1b}[2J"), "only read, ?a\\u{1b}[2J");
}
