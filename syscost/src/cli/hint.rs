//! clap's errors in one line, each with what to do. Knows the syntax, not what arguments mean.

use std::ffi::OsString;

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Stop, args::Args, usage};
use crate::near::did_you_mean;

/// Shortens clap's answer to `args`: help and version as they are, errors to one line.
pub(super) fn stop(error: &clap::Error, args: &[OsString]) -> Stop {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop::Answer(text);
    }
    // The first paragraph, where what was given has lines of its own.
    let has_lines = args.iter().any(|arg| arg.as_encoded_bytes().contains(&b'\n'));
    let line = text.split(if has_lines { "\n\n" } else { "\n" }).next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    usage(&format!("{line}; {}", hint(error, args)))
}

/// What to do about an error of clap's.
fn hint(error: &clap::Error, args: &[OsString]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    if let Some(meant) = context(ContextKind::SuggestedArg) {
        return format!("did you mean `{meant}`?");
    }
    let words: Vec<&str> = args
        .iter()
        .skip(1)
        .filter_map(|arg| arg.to_str())
        // What follows belongs to the command to measure.
        .take_while(|arg| *arg != "--")
        .collect();
    let syntax = Args::command();
    let command = words.iter().copied().find(|word| syntax.find_subcommand(word).is_some());
    let unexpected = context(ContextKind::InvalidArg)
        .filter(|arg| error.kind() == ErrorKind::UnknownArgument && !arg.starts_with('-'));
    match (unexpected, command) {
        (Some(word), None | Some("top" | "stat")) => stray(word, command, &words),
        _ => format!("see `{} --help`", typed(command)),
    }
}

/// What to do about a word that belongs to no option, where a target can be given.
fn stray(word: &str, command: Option<&str>, words: &[&str]) -> String {
    let syntax = Args::command();
    let commands = syntax.get_subcommands().map(|command| command.get_name());
    if command.is_none()
        && let Some(question) = did_you_mean(word, commands)
    {
        return question;
    }
    let typed = typed(command);
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!(
            "a command to run stands after --, as in `{typed} -- {word}`, and a name after --comm, as \
             in `{typed} --comm {word}`"
        );
    }
    // As from `-p $(pgrep nginx)`.
    if let Some(pid) = pid(words) {
        return format!("several PIDs have commas in between, as in `{typed} -p {pid},{word}`");
    }
    format!("did you mean `{typed} -p {word}`?")
}

/// What is given with `-p`, in any of its spellings.
fn pid<'a>(words: &[&'a str]) -> Option<&'a str> {
    let at = words.iter().position(|word| word.starts_with("-p") || word.starts_with("--pid"))?;
    let attached = words[at].trim_start_matches("--pid").trim_start_matches("-p");
    match attached.trim_start_matches('=') {
        "" => words.get(at + 1).copied(),
        pid => Some(pid),
    }
}

/// How the user began.
fn typed(command: Option<&str>) -> String {
    command.map_or_else(|| "syscost".to_owned(), |command| format!("syscost {command}"))
}
