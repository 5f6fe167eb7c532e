//! Real 32-bit programs, made by hand so that no other compiler is needed.

use std::{
    arch::global_asm,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::harness::{Measured, hooks, run, syscost};

/// How often the program makes `getppid` by each way into the kernel.
const EACH: u64 = 300;

// The whole program: `getppid` (64) by the kernel's own way in, which the auxiliary vector tells
// (AT_SYSINFO, 32: `sysenter` or `syscall`, whatever the CPU has), then by `int 0x80`; `exit` (1).
global_asm!(
    ".pushsection .rodata",
    "syscost_i386_begin:",
    ".code32",
    // The stack: argc, argv, 0, envp, 0, pairs of type and value, 0.
    "mov ecx, [esp]",
    "lea edi, [esp + ecx*4 + 8]",
    "2: mov eax, [edi]",
    "add edi, 4",
    "test eax, eax",
    "jnz 2b",
    "3: mov eax, [edi]",
    "mov ebp, [edi + 4]",
    "add edi, 8",
    "test eax, eax",
    "jz 7f",
    "cmp eax, 32",
    "jne 3b",
    "mov esi, 300",
    "4: mov eax, 64",
    "call ebp",
    "dec esi",
    "jnz 4b",
    "mov esi, 300",
    "5: mov eax, 64",
    "int 0x80",
    "dec esi",
    "jnz 5b",
    "xor ebx, ebx",
    "6: mov eax, 1",
    "int 0x80",
    "7: mov ebx, 9",
    "jmp 6b",
    ".code64",
    "syscost_i386_end:",
    ".popsection",
);

/// How often the second program is interrupted.
const SLEEPS: u64 = 20;

// `rt_sigaction` (174) of SIGALRM (14) with SA_SIGINFO and SA_RESTORER; `setitimer` (104) every 5 ms; so many
// `nanosleep` (162) of an hour; `exit` (1). The handler returns by `rt_sigreturn` (173).
global_asm!(
    ".pushsection .rodata",
    "syscost_i386_sleeps_begin:",
    ".code32",
    "sub esp, 64",
    // Pushes the address of the handler; behind it is what it returns to.
    "call 2f",
    "ret",
    "mov eax, 173",
    "int 0x80",
    "2: pop eax",
    "mov [esp], eax",
    "mov dword ptr [esp + 4], 0x04000004",
    "inc eax",
    "mov [esp + 8], eax",
    "xor eax, eax",
    "mov [esp + 12], eax",
    "mov [esp + 16], eax",
    "mov [esp + 20], eax",
    "mov dword ptr [esp + 24], 5000",
    "mov [esp + 28], eax",
    "mov dword ptr [esp + 32], 5000",
    "mov dword ptr [esp + 36], 3600",
    "mov [esp + 40], eax",
    "mov eax, 174",
    "mov ebx, 14",
    "mov ecx, esp",
    "xor edx, edx",
    "mov esi, 8",
    "int 0x80",
    "mov eax, 104",
    "xor ebx, ebx",
    "lea ecx, [esp + 20]",
    "xor edx, edx",
    "int 0x80",
    "mov edi, 20",
    "3: mov eax, 162",
    "lea ebx, [esp + 36]",
    "xor ecx, ecx",
    "int 0x80",
    "dec edi",
    "jnz 3b",
    "mov eax, 1",
    "xor ebx, ebx",
    "int 0x80",
    ".code64",
    "syscost_i386_sleeps_end:",
    ".popsection",
);

unsafe extern "C" {
    static syscost_i386_begin: u8;
    static syscost_i386_end: u8;
    static syscost_i386_sleeps_begin: u8;
    static syscost_i386_sleeps_end: u8;
}

/// The code of the program that makes `getppid`.
fn calls() -> &'static [u8] {
    code(&raw const syscost_i386_begin, &raw const syscost_i386_end)
}

/// The code of the program that sleeps.
fn sleeps() -> &'static [u8] {
    code(&raw const syscost_i386_sleeps_begin, &raw const syscost_i386_sleeps_end)
}

fn code(begin: *const u8, end: *const u8) -> &'static [u8] {
    // SAFETY: both symbols are in one object, the second behind the first.
    unsafe { std::slice::from_raw_parts(begin, end.offset_from_unsigned(begin)) }
}

/// Writes a program as an ELF file that everybody can execute.
fn program(folder: &Path, code: &[u8]) -> PathBuf {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let size = HEADERS + code.len() as u32;
    let mut file = Vec::new();
    // ELF, 32 bits, little-endian, version 1.
    file.extend(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    let half = |file: &mut Vec<u8>, words: &[u16]| {
        words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    let word = |file: &mut Vec<u8>, words: &[u32]| {
        words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    // An executable for i386; entry, program headers, section headers, flags.
    half(&mut file, &[2, 3]);
    word(&mut file, &[1, BASE + HEADERS, 52, 0, 0]);
    half(&mut file, &[52, 32, 1, 40, 0, 0]);
    // To be loaded at BASE, readable and executable.
    word(&mut file, &[1, 0, BASE, BASE, size, size, 5, 0x1000]);
    assert_eq!(file.len() as u32, HEADERS);
    file.extend(code);
    let path = folder.join("i386");
    fs::write(&path, file).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn measure(program: &Path, hooks: &str) -> Measured {
    let report = program.with_extension("report");
    let ended = run(syscost()
        .args(["stat", "--json", "--hooks", hooks, "-o"])
        .arg(&report)
        .arg("--")
        .arg(program));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let text = fs::read_to_string(&report).unwrap();
    Measured(serde_json::from_str(&text).unwrap())
}

#[test]
fn a_32_bit_programs_calls_are_of_their_own_table_however_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), calls());
    for hooks in hooks() {
        let measured = measure(&program, &hooks);
        measured.assert_exact();
        let rows: Vec<_> = measured.rows().filter(|row| row["name"] != "execve").collect();
        assert_eq!(rows.len(), 1, "{hooks}: {rows:#?}");
        assert_eq!(rows[0]["name"], "getppid");
        assert_eq!(rows[0]["abi"], "i386");
        assert_eq!(rows[0]["count"], 2 * EACH);
        // Its execve was made by a 64-bit program, and returned into a 32-bit one.
        let execve = measured.rows().find(|row| row["name"] == "execve").unwrap();
        assert_eq!((&execve["abi"], &execve["count"]), (&"x86_64".into(), &1.into()));
        assert_eq!(measured.ledger("ended_without_exit"), 1, "its exit");
    }
}

/// The register that its handlers return with has 32 bits.
#[test]
fn a_32_bit_programs_interrupted_calls_fail_with_eintr() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), sleeps());
    for hooks in hooks() {
        let measured = measure(&program, &hooks);
        measured.assert_exact();
        let sleeps = measured.rows().find(|row| row["name"] == "nanosleep").expect("it sleeps");
        assert_eq!(sleeps["abi"], "i386");
        assert_eq!((&sleeps["count"], &sleeps["errors"]), (&SLEEPS.into(), &SLEEPS.into()));
        assert_eq!(sleeps["errnos"]["EINTR"], SLEEPS, "{hooks}");
    }
}
