//! Finds every path that a Rust source names, in `use` trees and in code.
//!
//! Works on tokens, not on syntax. So it finds `a::b`, `use a::{b, c as d}` and `super::x` also inside macros.
//! Comments, literals and `#[cfg(test)]` items are left out. It does not follow re-exports.

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A path that a file names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// `crate::…` for paths into the file's own crate, as far as the file itself tells.
    pub(crate) segments: Vec<String>,
    /// The line of the first segment, from 1.
    pub(crate) line: usize,
    /// Named in a `use` or `extern crate`. There, a single word is an import; elsewhere it can be anything.
    pub(crate) import: bool,
}

/// The paths in a source text of the module `module`, given by its path from the crate's root.
///
/// # Errors
/// When the text has unbalanced brackets or literals that do not end.
pub(crate) fn find(source: &str, module: &[String]) -> Result<Vec<Named>> {
    let mut finder = Finder::default();
    finder.code(tokens(source)?, module);
    Ok(finder.found)
}

/// Whether the source declares its crate `no_std`, always or under a condition.
///
/// # Errors
/// As [`find`].
pub(crate) fn is_no_std(source: &str) -> Result<bool> {
    let trees: Vec<TokenTree> = tokens(source)?.into_iter().collect();
    Ok(trees.windows(3).any(|trees| match trees {
        [hash, bang, TokenTree::Group(attribute)] => {
            is_sign(hash, '#') && is_sign(bang, '!') && has_word(attribute.stream(), "no_std")
        }
        _ => false,
    }))
}

fn tokens(source: &str) -> Result<TokenStream> {
    source.parse().map_err(|error: proc_macro2::LexError| {
        anyhow!("line {}: this is not Rust: {error}", error.span().start().line)
    })
}

#[derive(Default)]
struct Finder {
    found: Vec<Named>,
}

impl Finder {
    /// Finds the paths in any code of `module`: items, statements, the arguments of macros.
    fn code(&mut self, stream: TokenStream, module: &[String]) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut rest = trees.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = match first {
                // The name of a lifetime is no path.
                quote if is_sign(quote, '\'') => after.get(1..).unwrap_or_default(),
                // Tests are not shipped, so that no wall holds for them.
                hash if is_sign(hash, '#') && after.first().is_some_and(is_cfg_test) => {
                    after_item(after)
                }
                TokenTree::Group(group) => {
                    self.code(group.stream(), module);
                    after
                }
                TokenTree::Ident(word) => match (word.to_string().as_str(), after) {
                    ("mod", [TokenTree::Ident(name), TokenTree::Group(items), after @ ..]) => {
                        self.code(items.stream(), &[module, &[name.to_string()]].concat());
                        after
                    }
                    ("use", [next, ..]) if !is_sign(next, '<') => self.use_tree(after, &[], module),
                    ("extern", [TokenTree::Ident(next), after @ ..]) if next == "crate" => {
                        self.use_tree(after, &[], module)
                    }
                    _ => {
                        let (segments, after) = segments(rest);
                        self.add(segments, line(first), module, false);
                        after
                    }
                },
                _ => after,
            };
        }
    }

    /// Finds the paths in one tree of a `use`; returns what follows its comma or semicolon.
    fn use_tree<'a>(
        &mut self,
        trees: &'a [TokenTree],
        prefix: &[String],
        module: &[String],
    ) -> &'a [TokenTree] {
        let trees = after_separator(trees).unwrap_or(trees);
        let (own, rest) = segments(trees);
        let path = [prefix, &own].concat();
        let rest = after_separator(rest).unwrap_or(rest);
        if let Some(TokenTree::Group(branches)) = rest.first() {
            let branches: Vec<TokenTree> = branches.stream().into_iter().collect();
            let mut branches = branches.as_slice();
            while !branches.is_empty() {
                branches = self.use_tree(branches, &path, module);
            }
        } else {
            self.add(path, trees.first().map_or(0, line), module, true);
        }
        let end = rest.iter().position(|tree| is_sign(tree, ',') || is_sign(tree, ';'));
        end.map_or(&[], |end| &rest[end + 1..])
    }

    /// Notes a path. Relative ones are resolved against `module`.
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
                ("super", None) => base = Some(module[..module.len().saturating_sub(1)].to_vec()),
                ("super", Some(base)) => drop(base.pop()),
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

/// Reads `a::b::c`, up to what is no further word; returns what follows.
fn segments(mut trees: &[TokenTree]) -> (Vec<String>, &[TokenTree]) {
    let mut segments = Vec::new();
    while let Some((TokenTree::Ident(word), rest)) = trees.split_first() {
        // `r#word` is `word`.
        segments.push(word.to_string().trim_start_matches("r#").to_owned());
        trees = rest;
        match after_separator(rest) {
            Some(next @ [TokenTree::Ident(_), ..]) => trees = next,
            _ => break,
        }
    }
    (segments, trees)
}

/// What follows a `::`, if these begin with one.
fn after_separator(trees: &[TokenTree]) -> Option<&[TokenTree]> {
    match trees {
        [TokenTree::Punct(first), second, rest @ ..] => {
            let is_separator = first.as_char() == ':' && first.spacing() == Spacing::Joint;
            (is_separator && is_sign(second, ':')).then_some(rest)
        }
        _ => None,
    }
}

/// What follows the item that these begin with: it ends with a semicolon or with a block.
fn after_item(trees: &[TokenTree]) -> &[TokenTree] {
    let end = trees.iter().position(|tree| {
        let is_block = matches!(tree, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
        is_block || is_sign(tree, ';')
    });
    end.map_or(&[], |end| &trees[end + 1..])
}

fn is_cfg_test(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Group(attribute) if attribute.to_string().replace(' ', "") == "[cfg(test)]")
}

fn is_sign(tree: &TokenTree, sign: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn has_word(stream: TokenStream, word: &str) -> bool {
    stream.into_iter().any(|tree| match tree {
        TokenTree::Ident(found) => found == word,
        TokenTree::Group(group) => has_word(group.stream(), word),
        _ => false,
    })
}

fn line(tree: &TokenTree) -> usize {
    tree.span().start().line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        let module = ["view".to_owned(), "table".to_owned()];
        let named =
            find(source, &module).unwrap().into_iter().filter(|n| n.import || n.segments.len() > 1);
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
        assert!(is_no_std("//! x\n#![no_std]").unwrap());
        assert!(is_no_std("#![cfg_attr(not(test), no_std)]").unwrap());
        assert!(!is_no_std("// #![no_std]\n#![deny(x)]\nfn no_std() {}").unwrap());
    }
}
