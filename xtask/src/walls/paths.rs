//! Finds every path a Rust source names, in `use` trees and in code.
//!
//! Reads tokens, not syntax: enough to see `a::b`, `use a::{b, c as d}` and `super::x`, and never
//! misled by comments, strings or `#[cfg(test)]` items. Does not follow re-exports.

/// A path as it stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// `crate::…` for paths into this crate, as far as the file itself tells.
    pub(crate) segments: Vec<String>,
    /// The line it stands on, from 1.
    pub(crate) line: usize,
    /// Named in a `use` or `extern crate`: a single word is an import there, any word elsewhere.
    pub(crate) import: bool,
}

/// The paths in a source text; `module` is where the file is, from the crate's root.
pub(crate) fn find(source: &str, module: &[String]) -> Vec<Named> {
    let tokens = lex(source);
    let mut finder = Finder { tokens: &tokens, at: 0, found: Vec::new() };
    finder.items(module);
    finder.found
}

/// Whether the file is declared `no_std`, on condition or not.
pub(crate) fn is_no_std(source: &str) -> bool {
    let tokens = lex(source);
    let mut inside = tokens
        .windows(3)
        .enumerate()
        .filter(|(_, w)| w.iter().map(|token| token.text.as_str()).eq(["#", "!", "["]));
    inside.any(|(at, _)| {
        tokens[at..].iter().take_while(|t| t.text != "]").any(|t| t.text == "no_std")
    })
}

struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

struct Finder<'a> {
    tokens: &'a [Token],
    at: usize,
    found: Vec<Named>,
}

impl Finder<'_> {
    fn text(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| &token.text)
    }

    fn follows(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| self.text(ahead) == *word)
    }

    /// Reads up to the brace that closes the current block, or the end.
    fn items(&mut self, module: &[String]) {
        while self.at < self.tokens.len() {
            if self.follows(&["#", "[", "cfg", "(", "test", ")", "]"]) {
                // Tests may look behind every wall: they are not shipped.
                self.at += 7;
                self.skip_item();
            } else if self.text(0) == "mod" && self.text(2) == "{" {
                let inner = [module, &[self.text(1).to_owned()]].concat();
                self.at += 3;
                self.items(&inner);
            } else if self.text(0) == "use" && self.text(1) != "<" {
                self.at += 1;
                self.use_tree(&[], module);
            } else if self.follows(&["extern", "crate"]) {
                self.at += 2;
                self.import(&[], module);
            } else if self.text(0) == "{" {
                self.at += 1;
                self.items(module);
            } else if self.text(0) == "}" {
                self.at += 1;
                return;
            } else if self.tokens[self.at].is_word() {
                let line = self.tokens[self.at].line;
                let segments = self.segments();
                self.add(segments, line, module, false);
            } else {
                self.at += 1;
            }
        }
    }

    fn skip_item(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            let text = self.text(0).to_owned();
            self.at += 1;
            match text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return;
                    }
                }
                ";" if depth == 0 => return,
                _ => {}
            }
        }
    }

    /// Reads `a::b::c`, up to what is no further word.
    fn segments(&mut self) -> Vec<String> {
        let mut segments = Vec::new();
        while self.tokens.get(self.at).is_some_and(Token::is_word) {
            segments.push(self.text(0).to_owned());
            self.at += 1;
            let next_is_word = self.tokens.get(self.at + 1).is_some_and(Token::is_word);
            if self.text(0) != "::" || !next_is_word {
                break;
            }
            self.at += 1;
        }
        segments
    }

    fn use_tree(&mut self, prefix: &[String], module: &[String]) {
        if self.text(0) == "::" {
            self.at += 1;
        }
        let Some(first) = self.tokens.get(self.at) else { return };
        if !first.is_word() {
            self.branches(prefix, module);
            return;
        }
        let line = first.line;
        let path = [prefix, &self.segments()].concat();
        if self.text(0) == "::" {
            self.at += 1;
            // What comes next is `{…}` or `*`.
            if self.text(0) == "{" {
                self.branches(&path, module);
                return;
            }
        }
        self.add(path, line, module, true);
        if self.text(0) == "as" {
            self.at += 2;
        }
    }

    fn branches(&mut self, prefix: &[String], module: &[String]) {
        if self.text(0) != "{" {
            self.at += 1;
            return;
        }
        self.at += 1;
        while self.at < self.tokens.len() && self.text(0) != "}" {
            self.use_tree(prefix, module);
            if self.text(0) == "," {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    fn import(&mut self, prefix: &[String], module: &[String]) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let path = [prefix, &self.segments()].concat();
        self.add(path, line, module, true);
    }

    fn add(&mut self, mut path: Vec<String>, line: usize, module: &[String], import: bool) {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let mut rest = path.as_slice();
        let mut base: Option<Vec<String>> = None;
        while let Some((first, after)) = rest.split_first() {
            match (first.as_str(), &mut base) {
                ("crate" | "syscost", None) => base = Some(Vec::new()),
                ("self", None) => base = Some(module.to_vec()),
                ("super", None) => {
                    base = Some(module[..module.len().saturating_sub(1)].to_vec());
                }
                ("super", Some(base)) => {
                    base.pop();
                }
                _ => break,
            }
            rest = after;
        }
        let segments = match base {
            Some(base) => [&["crate".to_owned()], base.as_slice(), rest].concat(),
            None => rest.to_vec(),
        };
        if !segments.is_empty() {
            self.found.push(Named { segments, line, import });
        }
    }
}

/// Words, `::` and single signs; comments, literals and lifetimes are left out.
fn lex(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut tokens) = (0, 1, Vec::new());
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    while at < chars.len() {
        let start = at;
        let c = chars[at];
        if c == '/' && get(at + 1) == '/' {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && get(at + 1) == '*' {
            at = after_block_comment(&chars, at);
        } else if c == '"' {
            at = after_string(&chars, at);
        } else if c == '\'' {
            at = after_quote(&chars, at);
        } else if c.is_alphanumeric() || c == '_' {
            while get(at).is_alphanumeric() || get(at) == '_' {
                at += 1;
            }
            let text: String = chars[start..at].iter().collect();
            let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
            let raw = matches!(text.as_str(), "r" | "br" | "cr");
            if raw && get(at + hashes) == '"' {
                at = after_raw_string(&chars, at + hashes + 1, hashes);
            } else if matches!(text.as_str(), "b" | "c") && get(at) == '"' {
                at = after_string(&chars, at);
            } else if text == "b" && get(at) == '\'' {
                at = after_quote(&chars, at);
            } else if text == "r" && hashes == 1 {
                // `r#word` is `word`.
                at += 1;
            } else {
                tokens.push(Token { text, line });
            }
        } else if c == ':' && get(at + 1) == ':' {
            tokens.push(Token { text: "::".to_owned(), line });
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token { text: c.to_string(), line });
            }
            at += 1;
        }
        line += chars[start..at].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

fn after_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at.min(chars.len())
}

fn after_string(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn after_raw_string(chars: &[char], mut at: usize, hashes: usize) -> usize {
    while at < chars.len() {
        let closes =
            chars[at] == '"' && chars[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}

/// After a character literal, or after the quote of a lifetime, whose name is then a word.
fn after_quote(chars: &[char], quote: usize) -> usize {
    if chars.get(quote + 1) == Some(&'\\') {
        // The escaped sign itself may be a quote.
        let close = chars.iter().skip(quote + 3).position(|&c| c == '\'');
        return close.map_or(chars.len(), |offset| quote + 3 + offset + 1);
    }
    if chars.get(quote + 2) == Some(&'\'') {
        return quote + 3;
    }
    let name = chars.iter().skip(quote + 1);
    quote + 1 + name.take_while(|c| c.is_alphanumeric() || **c == '_').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        let module = ["view".to_owned(), "table".to_owned()];
        let named = find(source, &module).into_iter().filter(|n| n.import || n.segments.len() > 1);
        named.map(|n| format!("{} {}", n.line, n.segments.join("::"))).collect()
    }

    #[test]
    fn use_trees_are_taken_apart() {
        let source = "use std::{fs, io::{self, Read as _}};\nuse aya as bpf;\npub use ::b::*;";
        let want = ["1 std::fs", "1 std::io", "1 std::io::Read", "2 aya", "3 b"];
        assert_eq!(paths(source), want);
    }

    #[test]
    fn each_branch_has_its_own_line() {
        assert_eq!(paths("use crate::{\n    a,\n    b::c,\n};"), ["2 crate::a", "3 crate::b::c"]);
    }

    #[test]
    fn relative_paths_are_resolved() {
        let source = "use super::a;\nfn f() { super::super::b(); self::c::d() }\n\
                      mod inner { use super::super::e; }\nuse super::f;";
        let want = [
            "1 crate::view::a",
            "2 crate::b",
            "2 crate::view::table::c::d",
            "3 crate::view::e",
            "4 crate::view::f",
        ];
        assert_eq!(paths(source), want);
    }

    #[test]
    fn code_is_searched_as_well() {
        let source = "fn f(x: &'a aya::Ebpf) -> Vec<std::fs::File> { aya::load!(x); a::<b::c>() }";
        assert_eq!(paths(source), ["1 aya::Ebpf", "1 std::fs::File", "1 aya::load", "1 b::c"]);
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = "// aya::a\n/* aya::b /* aya::c */ aya::d */\n/// aya::e\n\
                      const A: &str = \"aya::f \\\" aya::g\";\n\
                      const B: &str = r#\"aya::h \" aya::i\"#;\n\
                      const C: &[u8] = b\"aya::j\"; const D: char = '\"'; const E: char = '\\'';\n\
                      fn f<'aya>() { real::path() }";
        assert_eq!(paths(source), ["7 real::path"]);
    }

    #[test]
    fn tests_are_not_looked_at() {
        let source = "#[cfg(test)]\nmod tests { use aya::a; fn f() { aya::b() } }\n\
                      #[cfg(test)]\n#[allow(x)]\nuse aya::{c, d};\nuse real::e;";
        assert_eq!(paths(source), ["6 real::e"]);
    }

    #[test]
    fn no_std_counts_also_on_condition() {
        assert!(is_no_std("//! x\n#![no_std]"));
        assert!(is_no_std("#![cfg_attr(not(test), no_std)]"));
        assert!(!is_no_std("// #![no_std]\n#![deny(x)]\nfn no_std() {}"));
    }
}
