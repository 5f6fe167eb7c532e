//! The live screen, from end to end: the real program in a pseudo-terminal on a live target.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    sync::{Arc, Mutex},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use syscost::probe::preflight::perf_takes_admin;

use crate::harness::{
    CALIBRATION, Target, assert_nothing_left, await_unloaded, capabilities, comes_about,
    eventually, hooks, loaded, may_be_kept, programs_of, skipped, task_storage,
};

/// A program in a terminal that can be read and typed to.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Every byte it ever wrote.
    transcript: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn open(program: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        command.env_remove("NO_COLOR");
        command.env(CALIBRATION.0, CALIBRATION.1);
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).unwrap();
        let keyboard = pty.master.take_writer().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let transcript = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pty.master.try_clone_reader().unwrap();
        let (parser, bytes) = (Arc::clone(&screen), Arc::clone(&transcript));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                parser.lock().unwrap().process(&buffer[..read]);
                bytes.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { child, master: pty.master, keyboard, screen, transcript }
    }

    fn syscost(pid: u32, env: &[(&str, &str)]) -> Self {
        let pid = pid.to_string();
        Self::open(env!("CARGO_BIN_EXE_syscost"), &["-p", &pid, "-i", "100ms"], env)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap() as i32)
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn shows(&self, words: &[&str]) {
        let mut last = String::new();
        let shown = comes_about(|| {
            last = self.text();
            words.iter().all(|word| last.contains(word))
        });
        assert!(shown, "never showed {words:?}:\n{last}");
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// It ends by itself with `code`, and the terminal is as it was.
    fn ends(mut self, code: u32) -> String {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        assert_eq!(status.exit_code(), code, "{}", self.text());
        // The reader may still be busy with the last bytes.
        eventually("the screen is given back", || {
            let screen = self.screen.lock().unwrap();
            !screen.screen().alternate_screen() && !screen.screen().hide_cursor()
        });
        let flags = nix::sys::termios::tcgetattr(fd(&*self.master)).unwrap().local_flags;
        assert!(flags.contains(nix::sys::termios::LocalFlags::ECHO), "echo is off");
        assert!(flags.contains(nix::sys::termios::LocalFlags::ICANON), "lines are raw");
        self.text()
    }
}

/// A test that fails must not leave a tracer behind for the next one to stumble over.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fd(master: &dyn MasterPty) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: the descriptor is the master's, which outlives the borrow.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(master.as_raw_fd().unwrap()) }
}

#[test]
fn a_live_target_is_shown_opened_explained_and_left() {
    let target = Target::start(&["busy"]);
    let pid = target.pid().to_string();
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["syscost-target", &pid, "getppid", "EXACT", "CALLS/s", "P99"]);
    let programs = programs_of(terminal.pid());
    // `getppid` by name, then its own screen, the ledger, the help, and back.
    terminal.types("/ppid\r");
    eventually("only getppid is listed", || !terminal.text().contains("nanosleep"));
    terminal.types("\r");
    terminal.shows(&["getppid", std::env::consts::ARCH, "P99.9", "no errors"]);
    terminal.types("\u{1b}");
    terminal.shows(&["SYSCALL"]);
    terminal.types("l");
    terminal.shows(&["CALLS ENTERED", "ended without exit"]);
    terminal.types("l?");
    terminal.shows(&["KEYS", "sort by the next column", "freeze the screen", "COLUMNS"]);
    terminal.types("?");
    terminal.shows(&["SYSCALL"]);
    terminal.types(" ");
    terminal.shows(&["PAUSED"]);
    terminal.types("q");
    terminal.ends(0);
    await_unloaded(&programs);
}

#[test]
fn the_targets_exit_stays_on_the_screen() {
    let target = Target::start(&["busy"]);
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid", "EXACT"]);
    let programs = programs_of(terminal.pid());
    drop(target);
    terminal.shows(&["EXITED", "getppid"]);
    // Nothing is left to measure, and nobody pays for it any more.
    await_unloaded(&programs);
    terminal.types("q");
    terminal.ends(0);
}

#[test]
fn ctrl_c_gives_the_terminal_back() {
    let target = Target::start(&["busy"]);
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid"]);
    let programs = programs_of(terminal.pid());
    terminal.types("\u{3}");
    terminal.ends(0);
    await_unloaded(&programs);
}

#[test]
fn sigterm_gives_the_terminal_back() {
    let target = Target::start(&["busy"]);
    let terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid"]);
    let programs = programs_of(terminal.pid());
    kill(terminal.pid(), Signal::SIGTERM).unwrap();
    terminal.ends(0);
    await_unloaded(&programs);
}

#[test]
fn a_panic_gives_the_terminal_back_and_stays_readable() {
    let terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost-target"), &["panicking-screen"], &[]);
    terminal.shows(&["on purpose"]);
    let text = terminal.ends(101);
    assert!(text.contains("on purpose"), "{text}");
}

#[test]
fn no_color_means_no_color_codes() {
    let target = Target::start(&["busy"]);
    for (env, colored) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let mut terminal = Terminal::syscost(target.pid(), env);
        terminal.shows(&["getppid", "EXACT"]);
        terminal.types("q");
        let transcript = Arc::clone(&terminal.transcript);
        terminal.ends(0);
        assert_eq!(has_color_codes(&transcript.lock().unwrap()), colored);
    }
}

#[test]
fn without_utf8_the_screen_is_ascii() {
    let target = Target::start(&["busy"]);
    for env in [("LC_ALL", "C"), ("TERM", "linux")] {
        let mut terminal = Terminal::syscost(target.pid(), &[env]);
        terminal.shows(&["getppid", "EXACT", "> open"]);
        terminal.types("q");
        let transcript = Arc::clone(&terminal.transcript);
        terminal.ends(0);
        assert!(transcript.lock().unwrap().is_ascii(), "{env:?}");
    }
}

#[test]
fn a_dumb_terminal_gets_a_line_instead_of_a_screen() {
    let target = Target::start(&["busy"]);
    let terminal = Terminal::syscost(target.pid(), &[("TERM", "dumb")]);
    let transcript = Arc::clone(&terminal.transcript);
    terminal.shows(&["TERM=dumb", "stat -i 1"]);
    terminal.ends(2);
    assert!(!transcript.lock().unwrap().contains(&b'\x1b'));
}

/// Whether any SGR sequence (`ESC [ … m`) chooses a colour.
fn has_color_codes(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).split("\u{1b}[").skip(1).any(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(rest.len());
        rest[end..].starts_with('m')
            && rest[..end]
                .split(';')
                .any(|number| matches!(number.parse(), Ok(30..=38 | 40..=48 | 90..=97 | 100..=107)))
    })
}

#[test]
fn the_screen_needs_no_privileges() {
    let target = Target::start(&["busy"]);
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid", "EXACT"]);
    assert_nothing_left(terminal.pid());
    let programs = programs_of(terminal.pid());
    // It still finds the terminal, and the numbers go on.
    terminal.types("lG");
    terminal.shows(&["sampled out"]);
    terminal.types("lq");
    terminal.ends(0);
    await_unloaded(&programs);
}

#[test]
fn only_the_first_thread_keeps_what_a_budget_takes() {
    if !task_storage() {
        return skipped("a budget takes Linux 5.12 with BTF");
    }
    let script = "trap 'echo interrupted; exit 5' INT; while :; do sleep 0.05; done";
    let args = ["-i", "100ms", "--max-overhead", "90%", "--", "sh", "-c", script];
    let mut terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost"), &args, &[]);
    terminal.shows(&["SYSCALL", "nanosleep"]);
    // The writers of stderr and of the screen, the reader of the command's output, and that of keys.
    assert_others_have_nothing(terminal.pid(), 4);
    terminal.types("\u{3}");
    terminal.shows(&["EXITED"]);
    terminal.types("q");
    eventually("its output is offered", || terminal.text().contains("show them?"));
    // The reader of the answer instead of the writer of the screen and the reader of keys.
    assert_others_have_nothing(terminal.pid(), 2);
    terminal.types("n\n");
    terminal.ends(5);
}

/// Waits until there are at least `count` threads beside the first one, and none of them has a
/// capability.
fn assert_others_have_nothing(pid: Pid, count: usize) {
    let mut last = Vec::new();
    let nothing = comes_about(|| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let ids = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
        let others = ids.filter(|id| *id != pid.to_string());
        // One may end meanwhile.
        let status = |id| std::fs::read_to_string(format!("/proc/{pid}/task/{id}/status")).ok();
        last = others.filter_map(status).map(|status| capabilities(&status)[1]).collect();
        last.len() >= count && last.iter().all(|permitted| *permitted == 0)
    });
    assert!(nothing, "{last:x?}");
}

/// Waits until it has what attaching takes within reach, and nothing in use.
fn assert_laid_aside(pid: Pid) {
    // CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, and CAP_SYS_ADMIN where perf takes that.
    let perf = if perf_takes_admin() { 1 << 21 } else { 0 };
    let aside = 1 << 39 | 1 << 38 | 1 << 19 | perf;
    eventually("privileges are laid aside", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let [inheritable, permitted, effective, _, ambient] = capabilities(&status);
        [inheritable, ambient] == [0; 2]
            && permitted == aside
            && effective & !may_be_kept() == 0
            && status.contains("NoNewPrivs:\t1\n")
    });
}

/// Those of these programs that run whenever something happens, by name.
fn hooked(programs: &BTreeSet<u32>) -> BTreeSet<String> {
    const ASKED: [&str; 2] = ["open_calls", "thread_totals"];
    let names = loaded(programs).into_iter().map(|(name, _)| name);
    names.filter(|name| !ASKED.contains(&name.as_str())).collect()
}

#[test]
fn without_a_target_the_processes_are_listed_and_one_is_chosen_and_left_again() {
    if !task_storage() {
        return skipped("groups take Linux 5.12 with BTF");
    }
    let target = Target::start(&["busy"]);
    let pid = target.pid().to_string();
    let mut terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost"), &["-i", "100ms"], &[]);
    terminal.shows(&["whole host", "PID COMM", &pid, "EXACT"]);
    let tracer = terminal.pid();
    let list = programs_of(tracer);
    let by = hooked(&list);
    assert_eq!(by.contains("sys_enter_perf"), hooks()[0] == "perf", "{by:?}");
    assert_laid_aside(tracer);
    terminal.types(&format!("/{pid}\r"));
    eventually("only it is listed", || terminal.text().contains("1/1"));
    terminal.types("\r");
    terminal.shows(&[&format!("pid {pid}"), "SYSCALL", "getppid", "esc processes"]);
    assert_laid_aside(tracer);
    // With fewer privileges than before, but just as well.
    let chosen = programs_of(tracer);
    assert_eq!(hooked(&chosen), by);
    // Nobody pays for two measurements at once.
    await_unloaded(&list);
    terminal.types("\r");
    terminal.shows(&["P99.9"]);
    terminal.types("\u{1b}");
    terminal.shows(&["SYSCALL"]);
    terminal.types("\u{1b}");
    // The filter is as it was, and so is the selection.
    terminal.shows(&["whole host", &pid, "1/1"]);
    assert_eq!(hooked(&programs_of(tracer)), by);
    await_unloaded(&chosen);
    let programs = programs_of(tracer);
    terminal.types("q");
    terminal.ends(0);
    await_unloaded(&programs);
}

#[test]
fn a_process_that_is_gone_when_it_is_chosen_is_told_of_and_the_list_goes_on() {
    if !task_storage() {
        return skipped("groups take Linux 5.12 with BTF");
    }
    let target = Target::start(&["busy"]);
    let pid = target.pid().to_string();
    let mut terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost"), &["-i", "100ms"], &[]);
    terminal.shows(&[&pid]);
    // Frozen, so that it is still there to be chosen.
    terminal.types(&format!("/{pid}\r "));
    terminal.shows(&["PAUSED", "1/1"]);
    drop(target);
    terminal.types("\r");
    terminal.shows(&["whole host", &format!("no process {pid}")]);
    let programs = programs_of(terminal.pid());
    terminal.types("\u{3}");
    terminal.ends(0);
    await_unloaded(&programs);
}

#[test]
fn ctrl_c_reaches_the_command_and_its_status_is_ours() {
    let script = "trap 'echo interrupted; exit 5' INT; while :; do sleep 0.05; done";
    let args = ["-i", "100ms", "--", "sh", "-c", script];
    let mut terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost"), &args, &[]);
    // Asleep, and so behind its trap.
    terminal.shows(&["SYSCALL", "nanosleep", "EXACT"]);
    terminal.types("\u{3}");
    terminal.shows(&["EXITED"]);
    terminal.types("q");
    eventually("its output is offered", || terminal.text().contains("wrote 12 bytes; show them?"));
    terminal.types("\n");
    let left = terminal.ends(5);
    assert!(left.contains("interrupted"), "{left}");
}

#[test]
fn a_second_ctrl_c_ends_the_screen_and_the_command() {
    let args = ["-i", "100ms", "--", "sh", "-c", "trap '' INT; while :; do sleep 0.05; done"];
    let mut terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost"), &args, &[]);
    // Asleep, and so behind its trap.
    terminal.shows(&["SYSCALL", "nanosleep", "EXACT"]);
    terminal.types("\u{3}");
    // Keys are taken one after the other: it was taken, and the screen goes on.
    terminal.types("l");
    terminal.shows(&["CALLS ENTERED"]);
    terminal.types("\u{3}");
    // Killed by SIGTERM.
    terminal.ends(128 + 15);
}

#[test]
fn a_resize_is_followed() {
    let target = Target::start(&["busy"]);
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid"]);
    for (rows, cols) in [(40, 120), (10, 40), (24, 80)] {
        terminal.screen.lock().unwrap().screen_mut().set_size(rows, cols);
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        terminal.master.resize(size).unwrap();
        terminal.shows(&["getppid"]);
    }
    terminal.types("q");
    terminal.ends(0);
}

#[test]
fn a_terminal_that_answers_nothing_can_be_drawn_anew() {
    let target = Target::start(&["busy"]);
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid", "EXACT"]);
    // Nothing here answers a question for the cursor.
    terminal.screen.lock().unwrap().process(b"\x1b[2J\x1b[Hrubbish");
    terminal.types("\u{c}");
    terminal.shows(&["getppid", "EXACT"]);
    assert!(!terminal.text().contains("rubbish"));
    terminal.types("q");
    terminal.ends(0);
}

#[test]
fn signals_that_ask_for_no_good_order_leave_a_usable_terminal() {
    let signals = [
        (Signal::SIGQUIT, 131),
        (Signal::SIGHUP, 129),
        (Signal::SIGUSR1, 138),
        (Signal::SIGALRM, 142),
        (Signal::SIGXCPU, 152),
    ];
    for (signal, code) in signals {
        let target = Target::start(&["busy"]);
        let terminal = Terminal::syscost(target.pid(), &[]);
        terminal.shows(&["getppid"]);
        kill(Pid::from_raw(terminal.child.process_id().unwrap() as i32), signal).unwrap();
        terminal.ends(code);
    }
}

/// One signal is enough, although the command gets it as well.
#[test]
fn signals_that_end_the_screen_end_its_command() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let args = ["-i", "100ms", "--", env!("CARGO_BIN_EXE_syscost-target"), "busy"];
        let terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost"), &args, &[]);
        terminal.shows(&["getppid"]);
        kill(terminal.pid(), signal).unwrap();
        terminal.ends(code);
    }
}

/// The child of a process, once it has one that runs syscost.
fn syscost_below(shell: u32) -> Pid {
    let mut found = None;
    eventually("the shell has started syscost", || {
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let pids = children.unwrap_or_default();
        let is_ours = |pid: &&str| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm == "syscost\n")
        };
        found = pids.split_whitespace().find(is_ours).map(|pid| pid.parse().unwrap());
        found.is_some()
    });
    Pid::from_raw(found.unwrap())
}

#[test]
fn a_stop_from_outside_gives_the_terminal_to_the_shell_until_it_goes_on() {
    let target = Target::start(&["busy"]);
    // By key, by the signal that can be caught, and by the one that cannot.
    let script = format!(
        "set -m; {} -p {} -i 100ms; for i in 1 2 3; do echo stopped $i; read line; fg; done; echo over",
        env!("CARGO_BIN_EXE_syscost"),
        target.pid()
    );
    let mut terminal = Terminal::open("sh", &["-c", &script], &[]);
    let tracer = syscost_below(terminal.child.process_id().unwrap());
    for (round, signal) in [None, Some(Signal::SIGTSTP), Some(Signal::SIGSTOP)].iter().enumerate() {
        terminal.shows(&["SYSCALL", "getppid"]);
        match signal {
            None => terminal.types("\u{1a}"),
            Some(signal) => kill(tracer, *signal).unwrap(),
        }
        terminal.shows(&[&format!("stopped {}", round + 1)]);
        if *signal != Some(Signal::SIGSTOP) {
            assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());
            assert!(!terminal.screen.lock().unwrap().screen().hide_cursor());
        }
        terminal.types("\n");
        eventually("the screen is back", || {
            let text = terminal.text();
            text.contains("SYSCALL") && !text.contains("stopped")
        });
        let screen = terminal.screen.lock().unwrap();
        assert!(screen.screen().alternate_screen() && screen.screen().hide_cursor());
    }
    terminal.types("q");
    terminal.shows(&["over"]);
    terminal.ends(0);
}

/// A program in a terminal that is not read.
fn unread(args: &[&str]) -> (Box<dyn Child + Send + Sync>, Box<dyn MasterPty + Send>) {
    let size = PtySize { rows: 50, cols: 200, pixel_width: 0, pixel_height: 0 };
    let pty = native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_syscost"));
    command.args(args);
    command.env("TERM", "xterm-256color");
    (pty.slave.spawn_command(command).unwrap(), pty.master)
}

fn exit_code(child: &mut Box<dyn Child + Send + Sync>) -> u32 {
    let mut status = None;
    eventually("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().exit_code()
}

#[test]
fn a_terminal_that_is_not_read_keeps_no_signal_from_ending_it() {
    for (signal, code) in
        [(Signal::SIGTERM, 0), (Signal::SIGINT, 0), (Signal::SIGHUP, 129), (Signal::SIGQUIT, 131)]
    {
        let (mut child, master) = unread(&["-a", "-i", "10ms"]);
        let pid = child.process_id().unwrap();
        eventually("the terminal takes no more", || stuck_in_write(pid));
        kill(Pid::from_raw(pid as i32), signal).unwrap();
        assert_eq!(exit_code(&mut child), code, "{signal}");
        let flags = nix::sys::termios::tcgetattr(fd(&*master)).unwrap().local_flags;
        assert!(flags.contains(nix::sys::termios::LocalFlags::ECHO), "echo is off");
        // What it could still be given puts the ordinary screen back.
        let mut left = Vec::new();
        // A terminal that nobody has open any more ends with an error.
        let _ = master.try_clone_reader().unwrap().read_to_end(&mut left);
        let left = String::from_utf8_lossy(&left).into_owned();
        assert!(left.contains("\x1b[?1049l") && left.contains("\x1b[?25h"), "{left:?}");
    }
}

/// Whether a thread of the process waits for room to write.
fn stuck_in_write(pid: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.filter_map(Result::ok).any(|task| {
        let wchan = std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
        wchan.contains("n_tty_write") || wchan.contains("wait_woken")
    })
}

#[test]
fn a_terminal_that_is_closed_ends_every_command_in_good_order() {
    let target = Target::start(&["busy"]);
    let pid = target.pid().to_string();
    for args in [
        &["-p", &pid][..],
        &["-i", "100ms"],
        &["-a", "-i", "100ms"],
        &["-i", "100ms", "--", "sh", "-c", "while :; do sleep 0.05; done"],
        &["stat", "-a"],
        &["stat", "-a", "-i", "100ms"],
    ] {
        let (mut child, master) = unread(args);
        // Dropping one end is not enough.
        let mut reader = master.try_clone_reader().unwrap();
        let mut seen = Vec::new();
        while !["EXACT", "attached"]
            .iter()
            .any(|word| String::from_utf8_lossy(&seen).contains(word))
        {
            let mut bytes = [0; 4096];
            let read = reader.read(&mut bytes).unwrap();
            seen.extend_from_slice(&bytes[..read]);
        }
        drop(reader);
        drop(master);
        let code = exit_code(&mut child);
        // A hang-up, SIGTERM to the command, or output that could not be written.
        let expected = if args[0] == "stat" { [0, 1] } else { [129, 143] };
        assert!(expected.contains(&code), "{args:?}: {code}");
    }
}

#[test]
fn of_what_a_command_writes_the_end_is_kept() {
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end";
    let mut terminal = Terminal::open(
        env!("CARGO_BIN_EXE_syscost"),
        &["-i", "100ms", "--", "sh", "-c", script],
        &[],
    );
    terminal.shows(&["EXITED"]);
    terminal.types("q");
    terminal.shows(&["wrote 3,000,009 bytes; show the last 1,048,576 of them?"]);
    terminal.types("\n");
    terminal.shows(&["xxx\nthe end"]);
    terminal.ends(0);
}

#[test]
fn once_the_target_has_exited_the_totals_are_shown() {
    let mut target = Target::start(&["calls", "1", "1000"]);
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["EXACT"]);
    target.work();
    target.end();
    terminal.shows(&["EXITED", "▸since start", "getppid", "1.0k"]);
    terminal.types("q");
    terminal.ends(0);
}

#[test]
fn a_command_that_does_not_end_is_named_and_can_be_killed() {
    let args = ["-i", "100ms", "--", "sh", "-c", "trap '' TERM INT; while :; do sleep 0.05; done"];
    let mut terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost"), &args, &[]);
    terminal.shows(&["SYSCALL", "nanosleep", "EXACT"]);
    terminal.types("q");
    terminal.shows(&["waiting for the command", "Ctrl-C kills it"]);
    terminal.types("\u{3}");
    terminal.ends(128 + 9);
}
