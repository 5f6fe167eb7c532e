//! Whether all tests have passed with the kernel side as it is, on the kernels that run all tests.
//!
//! A hash over what the kernel side consists of is kept in the repository. It is rewritten when all tests have passed.
//! As long as it is that of the sources, only the tests of what differs between kernels need to run.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};
use sha2::{Digest, Sha256};

use crate::{sh, sources};

/// Where the hash is kept, from the root.
const RECORD: &str = "syscost/ebpf/TESTED.sha256";

/// The sources of the objects, and of what loads and reads them.
const FOLDERS: [&str; 3] = ["syscost-ebpf/src", "syscost-common/src", "syscost/src/probe"];

/// Whether all tests have passed with this kernel side.
pub(super) fn is_tested() -> Result<bool> {
    let record = fs::read_to_string(sh::root().join(RECORD)).unwrap_or_default();
    Ok(record.trim() == hash(&sh::root())?)
}

/// Records that all tests have passed with this kernel side.
pub(super) fn record() -> Result<()> {
    fs::write(sh::root().join(RECORD), format!("{}\n", hash(&sh::root())?))
        .with_context(|| format!("cannot write {RECORD}"))?;
    println!("{RECORD} is written: commit it with the change");
    Ok(())
}

/// SHA-256 over path and code of every file, and over the versions of the libraries that load the objects.
fn hash(root: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    for folder in FOLDERS {
        for path in sources::rust_files(root, folder)? {
            let source = fs::read_to_string(root.join(&path))?;
            let code = code(&source).with_context(|| format!("cannot read {path}"))?;
            hasher.update(format!("{path}\n{code}\n"));
        }
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    hasher.update(sources::locked_versions(&lock, |name| name.starts_with("aya")));
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A source without comments and layout: a change of these needs no test.
fn code(source: &str) -> Result<String> {
    let mut code = String::new();
    let stream = source.parse().map_err(|error| anyhow!("this is not Rust: {error}"))?;
    add_code(stream, &mut code);
    Ok(code)
}

fn add_code(stream: TokenStream, code: &mut String) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut rest = trees.as_slice();
    loop {
        rest = match rest {
            [] => return,
            // To the compiler, a doc comment is an attribute.
            [hash, bang, doc, after @ ..]
                if is_sign(hash, '#') && is_sign(bang, '!') && is_doc(doc) =>
            {
                after
            }
            [hash, doc, after @ ..] if is_sign(hash, '#') && is_doc(doc) => after,
            [TokenTree::Group(group), after @ ..] => {
                code.push_str(&format!("{:?}", group.delimiter()));
                add_code(group.stream(), code);
                code.push_str("End ");
                after
            }
            [tree, after @ ..] => {
                code.push_str(&tree.to_string());
                code.push(' ');
                after
            }
        }
    }
}

fn is_doc(tree: &TokenTree) -> bool {
    let TokenTree::Group(attribute) = tree else { return false };
    matches!(attribute.stream().into_iter().next(), Some(TokenTree::Ident(word)) if word == "doc")
}

fn is_sign(tree: &TokenTree, sign: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_layout_do_not_count_and_code_does() {
        let before = "//! a\n/// b\nfn f(x: u32) -> u32 { x + 1 } // c";
        let after = "//! d\n//! e\n\nfn f(x: u32) -> u32 {\n    // f\n    x + 1\n}\n";
        assert_eq!(code(before).unwrap(), code(after).unwrap());
        assert_ne!(code(before).unwrap(), code(&before.replace("x + 1", "x + 2")).unwrap());
        assert_ne!(code("a b").unwrap(), code("ab").unwrap());
    }
}
