//! The calls that an expression selects: strace's `-e trace=`, with names, classes and patterns.
//!
//! Two things of strace's are left out: numbers, which mean different calls in different ABIs, and
//! `read@32`, for one ABI only.

use regex_lite::Regex;
use syscost_common::kind::{AbiClass, pack};

use super::{
    class::{CLASSES, Class},
    kind_set::KindSet,
};
use crate::{
    decode::syscall::{self, Abi, Syscall},
    near::did_you_mean,
};

/// The calls that are recorded, and the words that selected them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Calls {
    /// Their kinds; not all.
    pub(super) kinds: KindSet,
    /// Whether `words` say which calls are left out.
    pub(super) negated: bool,
    /// What the user wrote between the commas.
    pub(super) words: Vec<String>,
}

impl Calls {
    /// What `expression` selects; `None` for every call.
    ///
    /// # Errors
    /// One line about the first word that selects nothing.
    pub(super) fn parse(expression: &str) -> Result<Option<Self>, String> {
        let bare = ["trace=", "t="].iter().find_map(|prefix| expression.strip_prefix(prefix));
        let bare = bare.unwrap_or(expression);
        let list = bare.trim_start_matches('!');
        // Each `!` inverts the whole set, as in strace.
        let negated = (bare.len() - list.len()) % 2 == 1;
        let words: Vec<&str> =
            list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        let mut kinds = match words.as_slice() {
            [] => {
                return Err(format!("'{expression}': names no calls; read,write or %file would"));
            }
            ["none"] => KindSet::empty(),
            ["all"] => KindSet::full(),
            words => Table::of_this_machine().select(words)?,
        };
        if negated {
            kinds.invert();
        }
        let words = words.into_iter().map(str::to_owned).collect();
        Ok((!kinds.is_full()).then_some(Self { kinds, negated, words }))
    }
}

/// The calls that have a name, in every ABI of the machine, with their kinds.
struct Table(Vec<(u32, &'static Syscall)>);

impl Table {
    fn of_this_machine() -> Self {
        let abis: &[AbiClass] = if cfg!(target_arch = "x86_64") {
            &[AbiClass::Native, AbiClass::Compat, AbiClass::X32]
        } else {
            &[AbiClass::Native, AbiClass::Compat]
        };
        let kind = |call: &'static Syscall| {
            let abi = abis.iter().find(|abi| Abi::of(**abi) == call.abi)?;
            Some((pack(*abi, call.nr), call))
        };
        Self(syscall::all().filter_map(kind).collect())
    }

    fn select(&self, words: &[&str]) -> Result<KindSet, String> {
        let mut selected = KindSet::empty();
        for word in words {
            let name = word.trim_start_matches('?');
            match self.find(name)? {
                Some(kinds) => kinds.into_iter().for_each(|kind| selected.insert(kind)),
                None if name == *word || name.is_empty() => return Err(self.unknown(word)),
                // With a question mark, a name that does not exist is no error.
                None => {}
            }
        }
        Ok(selected)
    }

    /// The kinds that `word` means; `None` where nothing is called so. A class exists even if this
    /// machine has none of its calls.
    fn find(&self, word: &str) -> Result<Option<Vec<u32>>, String> {
        if let Some(class) = Class::named(word) {
            return Ok(Some(self.kinds(|call| class.has(call))));
        }
        if word == "all" {
            return Ok(Some(self.kinds(|_| true)));
        }
        let kinds = match word.strip_prefix('/') {
            Some(pattern) => {
                let regex = Regex::new(pattern)
                    .map_err(|error| format!("{word}: not a regular expression: {error}"))?;
                self.kinds(|call| regex.is_match(call.name))
            }
            None => self.kinds(|call| call.name == word),
        };
        Ok((!kinds.is_empty()).then_some(kinds))
    }

    fn kinds(&self, wanted: impl Fn(&Syscall) -> bool) -> Vec<u32> {
        self.0.iter().filter(|(_, call)| wanted(call)).map(|(kind, _)| *kind).collect()
    }

    /// What to say about a word that nothing is called.
    fn unknown(&self, word: &str) -> String {
        if word.starts_with('/') {
            return format!("{word}: matches no system call; see `man 2 syscalls` for their names");
        }
        if word.starts_with('!') {
            return format!("{word}: `!` is for the whole list; put it before the first name");
        }
        if word.contains('=') {
            return format!("{word}: only `trace=` is known; see --failed and --errno for results");
        }
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            return format!("{word}: a number means another call in each ABI; give a name");
        }
        if word.starts_with('%') {
            let classes: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
            let advice = did_you_mean(word, classes.iter().copied())
                .unwrap_or_else(|| format!("use one of {}", classes.join(", ")));
            return format!("{word}: no such class; {advice}");
        }
        let near = did_you_mean(word, self.0.iter().map(|(_, call)| call.name));
        let advice = near.as_deref().unwrap_or("see `man 2 syscalls` for their names");
        format!("{word}: no such system call; {advice}")
    }
}
