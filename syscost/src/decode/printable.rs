//! Text from strangers, made safe to show.

use std::borrow::Cow;

/// `text` with everything escaped that would move the cursor, break the line, or hide: a process
/// gives itself what name it likes.
pub fn printable(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| matches!(c, '\'' | '"' | '\\') || c.escape_debug().count() == 1;
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_left_alone() {
        for name in ["nginx", "it's \"odd\" \\o/", "größe", "進程", "kworker/0:1-ev"] {
            assert!(matches!(printable(name), Cow::Borrowed(same) if same == name));
        }
    }

    #[test]
    fn what_drives_a_terminal_is_escaped() {
        assert_eq!(printable("a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(printable("\u{202e}txt"), "\\u{202e}txt");
    }
}
