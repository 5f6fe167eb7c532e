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
    Target, assert_nothing_left, await_unloaded, capabilities, comes_about, eventually, hooks,
    loaded_programs, may_be_kept, our_programs, programs_of, skipped, task_storage,
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
        command.env_remove("NO_COLOR");
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
    eventually("all programs are gone", || loaded_programs() == 0);
}

#[test]
fn the_targets_exit_stays_on_the_screen() {
    let target = Target::start(&["busy"]);
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid", "EXACT"]);
    drop(target);
    terminal.shows(&["EXITED", "getppid"]);
    // Nothing is left to measure, and nobody pays for it any more.
    eventually("all programs are gone", || loaded_programs() == 0);
    terminal.types("q");
    terminal.ends(0);
}

#[test]
fn ctrl_c_gives_the_terminal_back() {
    let target = Target::start(&["busy"]);
    let mut terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid"]);
    terminal.types("\u{3}");
    terminal.ends(0);
    eventually("all programs are gone", || loaded_programs() == 0);
}

#[test]
fn sigterm_gives_the_terminal_back() {
    let target = Target::start(&["busy"]);
    let terminal = Terminal::syscost(target.pid(), &[]);
    terminal.shows(&["getppid"]);
    let pid = terminal.child.process_id().unwrap();
    kill(Pid::from_raw(pid as i32), Signal::SIGTERM).unwrap();
    terminal.ends(0);
    eventually("all programs are gone", || loaded_programs() == 0);
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
    let pid = Pid::from_raw(terminal.child.process_id().unwrap() as i32);
    assert_nothing_left(pid);
    let programs = programs_of(pid);
    // It still finds the terminal, and the numbers go on.
    terminal.types("lG");
    terminal.shows(&["skipped"]);
    terminal.types("lq");
    terminal.ends(0);
    await_unloaded(&programs);
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
    our_programs()
        .into_iter()
        .filter(|(name, program)| {
            programs.contains(&program.id()) && !ASKED.contains(&name.as_str())
        })
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn without_a_target_the_processes_are_listed_and_one_is_chosen_and_left_again() {
    if !task_storage() {
        return skipped("groups take Linux 5.11 with BTF");
    }
    let target = Target::start(&["busy"]);
    let pid = target.pid().to_string();
    let mut terminal = Terminal::open(env!("CARGO_BIN_EXE_syscost"), &["-i", "100ms"], &[]);
    terminal.shows(&["whole host", "PID COMM", &pid, "EXACT"]);
    let tracer = Pid::from_raw(terminal.child.process_id().unwrap() as i32);
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
    terminal.types("q");
    terminal.ends(0);
    eventually("all programs are gone", || loaded_programs() == 0);
}

#[test]
fn a_process_that_is_gone_when_it_is_chosen_is_told_of_and_the_list_goes_on() {
    if !task_storage() {
        return skipped("groups take Linux 5.11 with BTF");
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
    terminal.types("\u{3}");
    terminal.ends(0);
    eventually("all programs are gone", || loaded_programs() == 0);
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
    thread::sleep(std::time::Duration::from_millis(200));
    terminal.shows(&["SYSCALL", "EXACT"]);
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
