//! The width of text on a terminal. A character of a name can take two columns, or none.

use crate::decode::printable;

/// Text and its width on a terminal.
pub(crate) trait Columns {
    /// How many it takes.
    fn columns(&self) -> usize;

    /// The longest beginning of it that takes at most `width`.
    fn beginning(&self, width: usize) -> &str;
}

impl Columns for str {
    fn columns(&self) -> usize {
        printable::width(self)
    }

    fn beginning(&self, width: usize) -> &str {
        let ends = self.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = ends.take_while(|end| self[..*end].columns() <= width).last();
        &self[..end.unwrap_or(0)]
    }
}

/// `text` and as many blanks behind it as make it `width` columns wide.
pub(crate) fn aligned_left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.columns())))
}

/// The same, with the blanks before it.
pub(crate) fn aligned_right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.columns())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_character_takes_two_columns_and_a_combining_one_none() {
        assert_eq!(["nginx", "数据库", "e\u{301}a", ""].map(Columns::columns), [5, 6, 2, 0]);
        assert_eq!(aligned_left("数据", 6), "数据  ");
        assert_eq!(aligned_right("数据", 5), " 数据");
        assert_eq!(aligned_right("toolong", 3), "toolong");
    }

    #[test]
    fn a_beginning_ends_between_characters_and_is_never_too_wide() {
        let beginnings = |text: &'static str| [0, 1, 2, 3, 4].map(|width| text.beginning(width));
        assert_eq!(beginnings("数据"), ["", "", "数", "数", "数据"]);
        assert_eq!(
            beginnings("e\u{301}ab"),
            ["", "e\u{301}", "e\u{301}a", "e\u{301}ab", "e\u{301}ab"]
        );
    }
}
