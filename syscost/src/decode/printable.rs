//! Text from outside, made safe to show: names of processes, cgroups and containers, paths, and
//! what the user has typed. All of it goes through here, and comes out as one line that moves no
//! cursor, hides nothing and changes no direction.
//!
//! Two doors, with the same escapes. [`external`] is for bytes at the place where they are read. It
//! loses nothing: [`original`] gives the bytes back. [`printable`] is for text at the place where it
//! is shown. It leaves alone what [`external`] has made, so that whole messages pass as well.
//!
//! | escape | stands for |
//! |---|---|
//! | `\\` | a backslash (from [`external`] only) |
//! | `\t` `\r` `\n` `\0` | the control characters of these names |
//! | `\xNN` | a byte that belongs to no UTF-8 character (from [`external`] only) |
//! | `\u{N}` | any other character that is not shown: controls, directions, no width, unassigned |

use std::{borrow::Cow, fmt::Write, path::Path};

use unicode_width::UnicodeWidthStr;

/// `bytes` as text without loss.
pub fn external(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                shown.push_str("\\\\");
            } else {
                push(&mut shown, c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A path as text without loss.
pub fn path(path: &Path) -> String {
    external(path.as_os_str().as_encoded_bytes())
}

/// The bytes that [`external`] has made `text` of; `None` for text that is not from there.
pub fn original(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend(plain.as_bytes());
        let mut after = escaped.chars();
        let escape = after.next()?;
        rest = after.as_str();
        match escape {
            '\\' => bytes.push(b'\\'),
            't' => bytes.push(b'\t'),
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            '0' => bytes.push(0),
            'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            'u' => {
                let (digits, after) = rest.strip_prefix('{')?.split_once('}')?;
                let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            _ => return None,
        }
    }
    bytes.extend(rest.as_bytes());
    Some(bytes)
}

/// `text` with everything escaped that would move the cursor, break the line, or hide. Backslashes
/// stay, so that text which is safe already comes out as it is.
pub fn printable(text: &str) -> Cow<'_, str> {
    let mut before = None;
    let is_safe = text.chars().all(|c| shows(c, before.replace(c)));
    if is_safe {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        push(&mut shown, c);
    }
    Cow::Owned(shown)
}

/// How many columns of a terminal printable text takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Whether `c` is seen for what it is, wherever it stands.
pub fn is_shown(c: char) -> bool {
    shows(c, None)
}

fn push(shown: &mut String, c: char) {
    if shows(c, shown.chars().next_back()) {
        shown.push(c);
    } else {
        match c {
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            '\n' => shown.push_str("\\n"),
            '\0' => shown.push_str("\\0"),
            _ => shown.extend(c.escape_unicode()),
        }
    }
}

/// Whether `c` is seen for what it is, behind the character `before`.
fn shows(c: char, before: Option<char>) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    if is_invisible(c) {
        return false;
    }
    // A mark that changes the character before it needs one, or it would change what stands before
    // the text. Behind a letter it is part of a word.
    let follows_letter =
        before.is_some_and(|before| !before.is_ascii() || before.is_ascii_alphabetic());
    let text = ['a', c];
    let mut buffer = [0; 8];
    let mut end = 0;
    for c in text.into_iter().skip(usize::from(!follows_letter)) {
        end += c.encode_utf8(&mut buffer[end..]).len();
    }
    let shown = std::str::from_utf8(&buffer[..end]).unwrap_or_default();
    // The standard library knows which characters are unassigned, formats, or marks.
    shown.escape_debug().count() == shown.chars().count()
}

/// Characters that the standard library prints, and a terminal does not show or shows as a space.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        // Fillers and selectors of how the character before looks (Default_Ignorable_Code_Point).
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
            // Braille without a dot.
            | '\u{2800}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_left_alone() {
        for name in ["nginx", "it's \"odd\" \\o/", "größe", "進程", "kworker/0:1-ev", "e\u{301}te"]
        {
            assert!(matches!(printable(name), Cow::Borrowed(same) if same == name), "{name}");
        }
        for name in ["nginx", "it's \"odd\"", "größe", "進程", "क्षि", "🦀"] {
            assert_eq!(external(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_drives_a_terminal_is_escaped() {
        for (text, shown) in [
            ("a\x1b[2J\nb", "a\\u{1b}[2J\\nb"),
            ("\u{202e}txt", "\\u{202e}txt"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{200b}b\u{feff}\u{2060}", "a\\u{200b}b\\u{feff}\\u{2060}"),
            ("\u{301}a", "\\u{301}a"),
            ("1\u{301}", "1\\u{301}"),
            ("a\u{2028}b\u{85}", "a\\u{2028}b\\u{85}"),
            ("\t\r\0\x7f", "\\t\\r\\0\\u{7f}"),
            ("✔\u{fe0f}\u{3164}", "✔\\u{fe0f}\\u{3164}"),
            ("\u{a0}\u{3000}", "\\u{a0}\\u{3000}"),
        ] {
            assert_eq!(printable(text), shown);
            assert_eq!(external(text.as_bytes()), shown);
        }
    }

    #[test]
    fn bytes_and_backslashes_come_back() {
        assert_eq!(external(b"x\xff\xfe"), "x\\xff\\xfe");
        assert_eq!(external(b"x\\xff"), "x\\\\xff");
        assert_eq!(external(b"web\\x2d1\xe2\x82"), "web\\\\x2d1\\xe2\\x82");
        assert_eq!(original("x\\xff\\\\").unwrap(), b"x\xff\\");
        for broken in
            ["\\", "\\x", "\\xf", "\\xgg", "\\u", "\\u{", "\\u{d800}", "\\u{110000}", "\\q"]
        {
            assert_eq!(original(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_line_and_come_back(bytes: Vec<u8>) {
            let shown = external(&bytes);
            prop_assert_eq!(original(&shown).unwrap(), bytes);
            prop_assert!(!shown.contains(char::is_control), "{}", shown);
            prop_assert!(matches!(printable(&shown), Cow::Borrowed(_)), "{}", shown);
        }

        #[test]
        fn any_text_becomes_one_line_at_once(text in "\\PC*|.*|[\\x00-\\x{2fff}]*") {
            let shown = printable(&text).into_owned();
            prop_assert!(!shown.contains(char::is_control), "{}", shown);
            prop_assert_eq!(printable(&shown), shown.as_str());
            prop_assert_eq!(original(&external(text.as_bytes())).unwrap(), text.as_bytes());
        }
    }
}
