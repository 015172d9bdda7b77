//! Which format a file has, and which columns hold what.

use std::path::Path;

/// How records lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object a line (`.jsonl`, `.ndjson`, `.json`).
    Jsonl,
    /// Comma-separated values with a header, RFC 4180 (`.csv`).
    Csv,
    /// One text a line (`.txt`, `.text`).
    Text,
}

impl Format {
    /// The format that a file name stands for, before `.gz` and `.zst`. `None` if the ending is unknown.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = uncompressed_name(path)?;
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "txt" | "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// Which columns hold the text, the id and the category. Plain text has no columns.
///
/// By default the text is in `text`; the id is made of file name and line; there is no category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub(super) text: String,
    pub(super) id: Option<String>,
    pub(super) category: Option<String>,
}

impl Columns {
    /// The text is in the column `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            id: None,
            category: None,
        }
    }

    /// Takes the id from a column: a string or a whole number that is unique within the run. By default the id is
    /// `<file stem>:<line>`, such as `posts:17`.
    #[must_use]
    pub fn with_id(mut self, column: impl Into<String>) -> Self {
        self.id = Some(column.into());
        self
    }

    /// Takes the category from a column; empty and `null` mean none. By default there is no category.
    #[must_use]
    pub fn with_category(mut self, column: impl Into<String>) -> Self {
        self.category = Some(column.into());
        self
    }
}

impl Default for Columns {
    fn default() -> Self {
        Self::new("text")
    }
}

/// The file name without folders and endings: `posts` for `data/posts.jsonl.gz`, `stdin` for `-`.
pub(super) fn stem(path: &Path) -> String {
    if path == Path::new("-") {
        return "stdin".to_owned();
    }
    let name = uncompressed_name(path).unwrap_or_default();
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
        _ => name,
    }
}

fn uncompressed_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let bare = name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(&name);
    Some(bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_format_and_stem() {
        for (path, format, expected) in [
            ("data/posts.jsonl.gz", Some(Format::Jsonl), "posts"),
            ("投稿.CSV", Some(Format::Csv), "投稿"),
            ("a.b.txt.zst", Some(Format::Text), "a.b"),
            ("plain", None, "plain"),
            (".jsonl", Some(Format::Jsonl), ".jsonl"),
            ("-", None, "stdin"),
        ] {
            let path = Path::new(path);
            assert_eq!(
                (Format::of_path(path), stem(path).as_str()),
                (format, expected)
            );
        }
    }
}
