//! A line of JSON that can be shown: in its strings, each character that is not shown for what it
//! is has JSON's own escape. What is read from the line is the same either way.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

use crate::decode::printable::is_shown;

/// Writes `value`, and ends the line.
pub(super) fn write(mut out: impl Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut out, Shown))?;
    out.write_all(b"\n")
}

/// [`write`] into text.
pub(super) fn text(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    // Nothing of ours fails to become JSON, and a Vec takes all.
    let _ = write(&mut out, value);
    String::from_utf8(out).unwrap_or_default()
}

struct Shown;

impl Formatter for Shown {
    fn write_string_fragment<W>(&mut self, out: &mut W, fragment: &str) -> io::Result<()>
    where
        W: Write + ?Sized,
    {
        let mut written = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| !is_shown(*c)) {
            out.write_all(&fragment.as_bytes()[written..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            written = at + c.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[written..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_shown_is_escaped_as_json_does() {
        assert_eq!(
            text(&"a\u{9b}\u{202e}\n\u{e0001}\"ö"),
            "\"a\\u009b\\u202e\\n\\udb40\\udc01\\\"ö\"\n"
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_back(value in "[\\x00-\\x{10ffff}]*") {
            let line = text(&value);
            prop_assert!(!line.trim_end().contains(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), value);
        }
    }
}
