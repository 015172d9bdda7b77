//! A file of settings.

use std::{fs, path::Path};

use safer_instruct::{Error, Result};

use super::{Given, nearest::nearest};

/// Reads a file of settings. Its paths become absolute: they are relative to its folder.
pub(crate) fn from_file(path: &Path) -> Result<Given> {
    let text = fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    let mut given: Given = toml::from_str(&text).map_err(|error| explained(path, &text, &error))?;
    let absolute = std::path::absolute(path).map_err(|error| Error::io(path, error))?;
    if let Some(folder) = absolute.parent() {
        given.begin_paths_at(folder);
    }
    Ok(given)
}

/// What is wrong, with the line, and with the nearest key for one that is not known.
fn explained(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| {
        let before = text.get(..span.start).unwrap_or_default();
        before.matches('\n').count() as u64 + 1
    });
    let message = error.message();
    // "unknown field `a`, expected one of `b`, `c`": what stands between backticks are names.
    let mut names = message.split('`').skip(1).step_by(2);
    let reason = match (message.starts_with("unknown field"), names.next()) {
        (true, Some(unknown)) => unknown_key(unknown, &names.collect::<Vec<_>>()),
        _ => message.replace('\n', " "),
    };
    Error::input(path, line, reason)
}

fn unknown_key(unknown: &str, known: &[&str]) -> String {
    match nearest(unknown, known.iter().copied()) {
        Some(key) => format!("there is no key `{unknown}`; did you mean `{key}`?"),
        None => format!(
            "there is no key `{unknown}`; there are: {}",
            known.join(", ")
        ),
    }
}
