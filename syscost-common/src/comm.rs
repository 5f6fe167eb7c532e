//! Process names, as the kernel keeps them: `task_struct.comm`, 16 bytes that a NUL ends.

/// A process name as two words, padded with zeroes.
pub type Comm = [u64; 2];

/// `comm` with zeroes behind the NUL, where the rest of an earlier, longer name may be. Kernels before 5.17 do not
/// overwrite that (`__set_task_comm` in fs/exec.c), so that equal names have unequal words.
#[inline(always)]
pub const fn padded(comm: Comm) -> Comm {
    let [first, second] = comm;
    match (name_bits(first), name_bits(second)) {
        (Some(bits), _) => [first & bits, 0],
        (None, Some(bits)) => [first, second & bits],
        // Not a name: the kernel's always end.
        (None, None) => comm,
    }
}

/// The bits before the first zero byte of `word` in memory order, if there is one.
#[inline(always)]
const fn name_bits(word: u64) -> Option<u64> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = LOW << 7;
    // The top bit of each zero byte; bytes after the first may be marked in error.
    let zeroes = u64::from_le(word).wrapping_sub(LOW) & !u64::from_le(word) & HIGH;
    if zeroes == 0 {
        return None;
    }
    let first = zeroes & zeroes.wrapping_neg();
    Some(((first - 1) >> 7).to_le())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8; 16]) -> Comm {
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        [word(0), word(8)]
    }

    #[test]
    fn what_lies_behind_the_name_is_cut_off_wherever_it_ends() {
        for len in 0..=15 {
            let mut old = *b"\xffonger-name.\x80\x01\x01\0";
            let mut name = [0; 16];
            for at in 0..len {
                (old[at], name[at]) = (b'a' + at as u8, b'a' + at as u8);
            }
            old[len] = 0;
            assert_eq!(padded(words(&old)), words(&name), "{len}");
        }
    }

    #[test]
    fn bytes_of_any_value_stay() {
        let name = words(b"\x01\xff\x80\x7f\x01\xff\x80\x7f\x01\xff\x80\x7f\x01\xff\x80\0");
        assert_eq!(padded(name), name);
    }
}
