//! What the environment variables say about the terminal.

use std::ffi::{OsStr, OsString};

/// What the terminal can show, and what its user wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Whether colours are unwelcome: `NO_COLOR` is set and not empty (<https://no-color.org>).
    pub no_color: bool,
    /// Whether characters beyond ASCII may not be shown as what they are: the locale is not UTF-8,
    /// or the terminal is the kernel's console.
    pub ascii: bool,
    /// Whether the terminal can only print lines.
    pub dumb: bool,
}

impl Environment {
    /// Asks `get` for the variables.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let get = |name| get(name).filter(|value| !value.is_empty());
        let term = get("TERM");
        let term = |kind: &str| term.as_deref() == Some(OsStr::new(kind));
        // In the order of locale(7). None at all is the C locale.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(get);
        let utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_str().unwrap_or_default().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        let dumb = term("dumb");
        Self { no_color: get("NO_COLOR").is_some(), ascii: !utf8 || dumb || term("linux"), dumb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_locale_says_which_characters_there_are() {
        for (variables, ascii) in [
            (&[("LANG", "en_US.UTF-8")][..], false),
            (&[("LANG", "C.utf8")], false),
            (&[("LANG", "de_DE@euro")], true),
            (&[("LANG", "C")], true),
            (&[], true),
            (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], true),
            (&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], false),
            (&[("LC_CTYPE", "POSIX"), ("LANG", "en_US.UTF-8")], true),
            (&[("TERM", "linux"), ("LANG", "en_US.UTF-8")], true),
            (&[("TERM", "xterm"), ("LANG", "en_US.UTF-8")], false),
        ] {
            assert_eq!(read(variables).ascii, ascii, "{variables:?}");
        }
    }

    #[test]
    fn a_dumb_terminal_is_known_by_its_name() {
        let dumb = read(&[("TERM", "dumb"), ("LANG", "en_US.UTF-8")]);
        assert_eq!(dumb, Environment { no_color: false, ascii: true, dumb: true });
        assert!(!read(&[("TERM", "xterm")]).dumb);
    }

    #[test]
    fn no_color_counts_unless_empty() {
        assert!(read(&[("NO_COLOR", "1")]).no_color);
        assert!(!read(&[("NO_COLOR", "")]).no_color && !read(&[]).no_color);
    }
}
