//! The programs of tests that cargo can build, and the names of the tests in each, read from the
//! sources. So a filter builds only the programs that have a test of that name.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, TargetKind};

use crate::sources;

/// The program of the kernel tests.
const KERNEL: &str = "kernel";

/// Tests that cargo builds and runs as one program, or as one for each package that has such a target.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Suite {
    /// What selects it on cargo's command line.
    pub(super) target: Vec<String>,
    /// Its tests load programs into the kernel, which takes root.
    pub(super) needs_root: bool,
    /// The full names of its tests.
    pub(super) names: Vec<String>,
}

impl Suite {
    /// How many of its tests have a name that contains one of `filters`; all tests if there are none.
    pub(super) fn selected(&self, filters: &[String]) -> usize {
        let is_selected = |name: &&String| {
            filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
        };
        self.names.iter().filter(is_selected).count()
    }
}

/// All suites of the workspace's default members.
pub(super) fn all(metadata: &Metadata) -> Result<Vec<Suite>> {
    let mut suites: Vec<Suite> = Vec::new();
    for package in metadata.workspace_default_packages() {
        for target in package.targets.iter().filter(|target| target.test) {
            let option = match target.kind.first() {
                Some(TargetKind::Lib) => vec!["--lib".to_owned()],
                Some(TargetKind::Bin) => vec!["--bin".to_owned(), target.name.clone()],
                Some(TargetKind::Test) => vec!["--test".to_owned(), target.name.clone()],
                _ => continue,
            };
            let names = names_below(target.src_path.as_std_path())?;
            match suites.iter_mut().find(|suite| suite.target == option) {
                Some(suite) => suite.names.extend(names),
                None => suites.push(Suite {
                    needs_root: option == ["--test", KERNEL],
                    target: option,
                    names,
                }),
            }
        }
    }
    Ok(suites)
}

/// The tests of the program whose root module is this file.
fn names_below(file: &Path) -> Result<Vec<String>> {
    let folder = file.parent().context("a source file lies in a folder")?;
    let stem = file.file_stem().unwrap_or_default();
    let files = if stem == "lib" || stem == "main" {
        sources::rust_files(folder, "")?
    } else {
        vec![file.file_name().unwrap_or_default().to_string_lossy().into_owned()]
    };
    let mut names = Vec::new();
    for path in files {
        let source = fs::read_to_string(folder.join(&path))
            .with_context(|| format!("cannot read {path} in {}", folder.display()))?;
        let module = if folder.join(&path) == file { Vec::new() } else { sources::module(&path) };
        names.extend(names_in(&source, module));
    }
    Ok(names)
}

/// The full names of the tests in a formatted source file, which is the module `module`.
fn names_in(source: &str, module: Vec<String>) -> Vec<String> {
    let mut names = Vec::new();
    // Modules around the line, each with the indentation of the line that opens it.
    let mut around: Vec<(usize, String)> = Vec::new();
    let mut is_test = false;
    for line in source.lines() {
        let code = line.trim_start();
        let indentation = line.len() - code.len();
        if code == "}" && around.last().is_some_and(|(opened, _)| *opened == indentation) {
            around.pop();
        } else if let Some(inner) = code.strip_suffix(" {").and_then(after_word("mod")) {
            around.push((indentation, inner.to_owned()));
        } else if code.starts_with("#[test]") || code.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(function) = after_word("fn")(code).filter(|_| is_test) {
            let name = function.split(['(', '<']).next().unwrap_or_default();
            let path = module.iter().map(String::as_str);
            let path = path.chain(around.iter().map(|(_, inner)| inner.as_str()));
            names.push(path.chain([name]).collect::<Vec<_>>().join("::"));
            is_test = false;
        }
    }
    names
}

/// What follows `word`, which begins the code or follows other keywords.
fn after_word(word: &str) -> impl Fn(&str) -> Option<&str> {
    move |code| {
        let code = ["pub ", "pub(crate) ", "pub(super) ", "async "]
            .iter()
            .fold(code, |code, keyword| code.strip_prefix(keyword).unwrap_or(code));
        code.strip_prefix(word)?.strip_prefix(' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_by_module_and_function() {
        // In an array, so that these lines do not count when this file itself is read.
        let source = [
            "fn helper() {}",
            "#[test]",
            "fn outside() {",
            "}",
            "mod inner {",
            "    proptest! {",
            "        #[test]",
            "        #[ignore]",
            "        fn of_properties(x in 0..2) {",
            "            if x {",
            "            }",
            "        }",
            "    }",
            "    #[tokio::test]",
            "    async fn waits() {",
            "    }",
            "}",
            "#[cfg(test)]",
            "mod tests {",
            "    fn check() {}",
            "    #[test]",
            "    fn last() {",
            "    }",
            "}",
        ];
        assert_eq!(
            names_in(&source.join("\n"), vec!["view".to_owned(), "csv".to_owned()]),
            [
                "view::csv::outside",
                "view::csv::inner::of_properties",
                "view::csv::inner::waits",
                "view::csv::tests::last",
            ]
        );
    }

    #[test]
    fn every_suite_of_the_workspace_is_found() {
        let suites = all(&crate::sh::metadata().unwrap()).unwrap();
        let find = |target: &[&str]| suites.iter().find(|suite| suite.target == target).unwrap();
        let own = "test::suites::tests::every_suite_of_the_workspace_is_found";
        assert_eq!(find(&["--bin", "xtask"]).selected(&[own.to_owned()]), 1);
        assert!(find(&["--lib"]).selected(&[]) > 100);
        assert!(find(&["--test", "hist"]).selected(&[]) > 1);
        let kernel = find(&["--test", "kernel"]);
        assert!(kernel.needs_root && kernel.selected(&[]) > 100);
        assert_eq!(kernel.selected(&["no test is called this".to_owned()]), 0);
        assert_eq!(suites.iter().filter(|suite| suite.needs_root).count(), 1);
    }
}
