//! A folder of `.txt` files: one text a file.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    vec,
};

use super::{
    checks::{check_text, utf8},
    decode, format,
    split::too_long,
};
use crate::error::{Error, Result};

/// The `.txt` files of a folder in the order of their names, without those of folders inside it.
pub(super) fn list(dir: &Path) -> Result<vec::IntoIter<PathBuf>> {
    let io = |error| Error::io(dir, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|ending| ending == "txt") && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::input(dir, None, "the folder holds no .txt files"));
    }
    files.sort();
    Ok(files.into_iter())
}

/// Reads one file: its id, which is the file name without ending, and its text without the line feeds at the end.
pub(super) fn read(path: &Path, max_bytes: usize) -> Result<(String, String)> {
    let mut bytes = Vec::new();
    decode::open(path)?
        .take(max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(path, error))?;
    if bytes.len() > max_bytes {
        return Err(Error::input(path, None, too_long(max_bytes)));
    }
    let input = |reason| Error::input(path, None, reason);
    let text = utf8(&bytes).map_err(input)?.trim_end_matches(['\r', '\n']);
    check_text(text).map_err(input)?;
    Ok((format::stem(path), text.to_owned()))
}
