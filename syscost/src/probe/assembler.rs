//! The BPF instructions that small programs are written in: programs that try what the kernel does, and are loaded
//! without an object.

// Registers: the result, arguments, and the frame pointer.
pub(super) const R0: u8 = 0;
pub(super) const R1: u8 = 1;
pub(super) const R2: u8 = 2;
pub(super) const R3: u8 = 3;
pub(super) const FRAME: u8 = 10;

// Instructions (Documentation/bpf/standardization/instruction-set.rst), named by what they do.
pub(super) const LOAD_CONSTANT: u8 = 0x18;
pub(super) const LOAD_HALF: u8 = 0x69;
pub(super) const LOAD_WORD: u8 = 0x61;
pub(super) const LOAD_DOUBLE: u8 = 0x79;
pub(super) const STORE: u8 = 0x7b;
pub(super) const ATOMIC: u8 = 0xdb;
pub(super) const SET: u8 = 0xb7;
pub(super) const COPY: u8 = 0xbf;
pub(super) const ADD: u8 = 0x07;
pub(super) const OR: u8 = 0x4f;
pub(super) const SHIFT_LEFT: u8 = 0x67;
pub(super) const JUMP_IF_UNEQUAL: u8 = 0x5d;
pub(super) const CALL: u8 = 0x85;
pub(super) const EXIT: u8 = 0x95;

/// `BPF_CMPXCHG`.
pub(super) const COMPARE_EXCHANGE: i32 = 0xf1;
/// `BPF_PSEUDO_MAP_VALUE`: the constant is the address of a value in a map.
pub(super) const MAP_VALUE: u8 = 2;
/// `BPF_PSEUDO_BTF_ID`: the constant is the address of one of the kernel's variables.
pub(super) const VARIABLE: u8 = 3;

// Helpers (`enum bpf_func_id`).
pub(super) const GET_CURRENT_COMM: i32 = 16;
pub(super) const GET_CURRENT_TASK: i32 = 35;
pub(super) const PROBE_READ_KERNEL: i32 = 113;
pub(super) const THIS_CPU_PTR: i32 = 154;

/// A `struct bpf_insn` as a word.
pub(super) fn instruction(code: u8, to: u8, from: u8, offset: i16, constant: i32) -> u64 {
    let low = u64::from(code) | u64::from(to | from << 4) << 8;
    low | u64::from(offset as u16) << 16 | u64::from(constant as u32) << 32
}
