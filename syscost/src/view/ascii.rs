//! Screens and tables in ASCII, for terminals and locales without other characters. Each character of a view becomes
//! one ASCII character, so that columns stay aligned. Names are escaped before columns are laid out.

use crate::{model::Model, sample::GroupKey};

/// What stands for `character`; `?` for a character that no view draws itself. [`names`] leaves none of these.
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

/// `model` with the names of processes, cgroups and commands in ASCII: any other character is escaped as
/// those that are not shown, `\u{e9}`. Before a view lays out its columns, for escapes are longer.
pub fn names(model: &Model) -> Model {
    let mut model = model.clone();
    let subject = &mut model.subject;
    escape(&mut subject.name);
    escape(&mut subject.detail);
    subject.only.iter_mut().for_each(escape);
    for group in model.groups.iter_mut().flat_map(|groups| &mut groups.rows) {
        group.name.iter_mut().for_each(escape);
        if let GroupKey::Comm(name) = &mut group.key {
            escape(name);
        }
    }
    for call in model.in_flight.iter_mut().flatten() {
        escape(&mut call.thread.comm);
        call.descriptor_names.values_mut().for_each(escape);
    }
    model
}

fn escape(name: &mut String) {
    if !name.is_ascii() {
        let escaped = |c: char| match c.is_ascii() {
            true => c.to_string(),
            false => c.escape_unicode().to_string(),
        };
        *name = name.chars().map(escaped).collect();
    }
}

/// A whole text in ASCII, as [`ascii`].
pub fn text(text: &str) -> String {
    text.chars().map(ascii).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{group::GroupBy, model::TableRow, view::fixture};

    #[test]
    fn each_character_has_one_that_stands_for_it() {
        assert_eq!(text("≈1.9µs – 5 × … größe\n"), "~1.9us - 5 x + gr??e\n");
        assert_eq!(text("plain ASCII\t"), "plain ASCII\t");
    }

    #[test]
    fn names_are_escaped_wherever_they_are() {
        for by in [GroupBy::Process, GroupBy::Comm, GroupBy::Cgroup] {
            let mut sample = fixture::grouped(by);
            sample.open_calls.as_mut().unwrap()[0].thread.comm = "数据".to_owned();
            let group = &mut sample.groups.as_mut().unwrap().groups[0];
            match &mut group.key {
                GroupKey::Comm(name) => *name = "ö".to_owned(),
                _ => group.name = Some("ö".to_owned()),
            }
            let mut model = Model::since_attach(&sample);
            model.subject.name = "größe".to_owned();
            let model = names(&model);
            assert_eq!(model.subject.name, r"gr\u{f6}\u{df}e");
            let comms: Vec<_> =
                model.in_flight.unwrap().into_iter().map(|call| call.thread.comm).collect();
            assert!(comms.contains(&r"\u{6570}\u{636e}".to_owned()), "{comms:?}");
            let rows = model.groups.unwrap().rows;
            let titles: Vec<_> = rows.iter().map(|row| row.title().into_owned()).collect();
            assert!(titles.iter().all(|title| title.is_ascii()), "{titles:?}");
            assert!(titles.iter().any(|title| title.contains(r"\u{f6}")), "{titles:?}");
        }
    }
}
