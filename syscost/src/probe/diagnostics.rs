//! Why a loss counter rose, as the programs report it for `--verbose`.

use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use aya::Ebpf;
use aya_log_common::{ArgumentKind, LogValueLength};

use super::ring::{Record, Ring};

/// How many lines are taken at a time: more than a reader wants, and too few to delay a reading.
const AT_A_TIME: usize = 256;

/// The ring that the programs' log goes to.
pub(super) struct Diagnostics {
    ring: Ring<Rise>,
}

impl Diagnostics {
    /// Listens to the programs of a loaded object.
    ///
    /// # Errors
    /// When the object has no log.
    pub(super) fn listen(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self { ring: Ring::take(ebpf, "AYA_LOGS")? })
    }

    /// The lines since the last time, or the oldest of them.
    pub(super) fn drain(&mut self) -> Vec<String> {
        self.ring.drain(AT_A_TIME).iter().map(|rise| format!("kernel: {rise}")).collect()
    }
}

/// A counter of the ledger has risen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rise {
    /// A number of [`syscost_common::ledger::Counter`].
    counter: u32,
    /// The thread in which it has.
    tid: u32,
    /// What they say depends on the counter.
    details: [u64; 2],
}

impl Display for Rise {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { counter, tid, details: [first, second] } = self;
        write!(f, "ledger counter {counter} rises: tid {tid}, {first}, {second}")
    }
}

/// A log line of aya-log: its length, then fields of a kind, a length and a value each. Six fields say where the line
/// comes from, the others are its text and its numbers.
impl Record for Rise {
    fn read(bytes: &[u8]) -> Option<Self> {
        const WHERE_FROM: usize = 6;
        const U32: u8 = ArgumentKind::U32 as u8;
        const U64: u8 = ArgumentKind::U64 as u8;
        let (length, _) = split_length(bytes)?;
        let mut fields = Fields(bytes.get(size_of::<LogValueLength>()..length)?);
        let mut numbers = fields.by_ref().skip(WHERE_FROM).filter_map(|(kind, value)| match kind {
            U32 => Some(u32::from_ne_bytes(value.try_into().ok()?).into()),
            U64 => Some(u64::from_ne_bytes(value.try_into().ok()?)),
            _ => None,
        });
        Some(Self {
            counter: numbers.next()?.try_into().ok()?,
            tid: numbers.next()?.try_into().ok()?,
            details: [numbers.next()?, numbers.next()?],
        })
    }
}

/// Fields of a log line.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    /// The kind and the value.
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, rest) = self.0.split_first()?;
        let (length, rest) = split_length(rest)?;
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*kind, value))
    }
}

fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_at_checked(size_of::<LogValueLength>())?;
    Some((LogValueLength::from_ne_bytes(length.try_into().ok()?).into(), rest))
}

#[cfg(test)]
mod tests {
    use aya_log_common::{Argument, Field, Header, Level};

    use super::*;

    fn field(line: &mut Vec<u8>, argument: impl Argument) {
        let (kind, value) = argument.as_argument();
        let field = Field::new(kind, value).unwrap();
        field.with_bytes(&mut |bytes| {
            line.extend_from_slice(bytes);
            Some(())
        });
    }

    /// A line as the kernel's side of the library writes it.
    fn line() -> Vec<u8> {
        let mut line = vec![0, 0];
        let header = Header::new("btf", Level::Warn, "btf::diagnostics", "a.rs", 20, 8).unwrap();
        header.with_bytes(&mut |bytes| {
            line.extend_from_slice(bytes);
            Some(())
        });
        field(&mut line, "ledger counter ");
        field(&mut line, 7_u32);
        field(&mut line, " rises: tid ");
        field(&mut line, 4_711_u32);
        field(&mut line, ", ");
        field(&mut line, 1_u64 << 40);
        field(&mut line, ", ");
        field(&mut line, 2_u64);
        let length = LogValueLength::try_from(line.len()).unwrap();
        line[..2].copy_from_slice(&length.to_ne_bytes());
        // Records of the ring have some sizes only.
        line.resize(256, 0xff);
        line
    }

    #[test]
    fn a_line_is_read_as_the_library_writes_it() {
        let rise = Rise::read(&line()).unwrap();
        assert_eq!(rise, Rise { counter: 7, tid: 4_711, details: [1 << 40, 2] });
        assert_eq!(rise.to_string(), "ledger counter 7 rises: tid 4711, 1099511627776, 2");
    }

    #[test]
    fn a_line_that_is_cut_short_is_no_record() {
        let line = line();
        for length in 0..line.len().min(200) {
            let mut short = line[..length].to_vec();
            if length >= 2 {
                let claimed = u16::try_from(length).unwrap().to_ne_bytes();
                short[..2].copy_from_slice(&claimed);
            }
            let whole = usize::from(u16::from_ne_bytes([line[0], line[1]]));
            assert_eq!(Rise::read(&short).is_some(), length >= whole, "{length}");
        }
    }
}
