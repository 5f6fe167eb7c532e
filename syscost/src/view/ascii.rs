//! The characters of screens and tables in ASCII, for terminals and locales that have no others.
//!
//! One character for one: columns stay where they are.

/// What stands for `character`; `?` for those that no view draws itself, such as in names.
pub fn ascii(character: char) -> char {
    match character {
        c if c.is_ascii() => c,
        '·' | '•' => '.',
        '–' | '─' => '-',
        // As ps and top mark names that are cut.
        '…' => '+',
        '≈' | '±' => '~',
        '×' => 'x',
        'µ' => 'u',
        // Beside a heading, a v would be a part of it.
        '▸' | '→' | '▼' => '>',
        '←' => '<',
        '⏎' => '>',
        '⌫' => '<',
        '↑' | '▲' => '^',
        '↓' => 'v',
        '│' | '┤' | '▏' => '|',
        '┬' | '└' => '+',
        '▁' | '▂' | '░' => ':',
        '▃' => '-',
        '▄' => '=',
        '▅' => '+',
        '▆' | '▇' => '*',
        '█' => '#',
        '▒' => '%',
        _ => '?',
    }
}

/// The same of a whole text.
pub fn text(text: &str) -> String {
    text.chars().map(ascii).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_has_one_that_stands_for_it() {
        assert_eq!(text("≈1.9µs – 5 × … größe\n"), "~1.9us - 5 x + gr??e\n");
        assert_eq!(text("plain ASCII\t"), "plain ASCII\t");
    }
}
