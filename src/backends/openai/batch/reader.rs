//! Files of results.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::BatchRow;
use crate::error::{Error, Result};

/// Reads the results of a batch, from an output or error file of a server or of a program such as `vllm run-batch`.
///
/// Each item is one line; empty lines are skipped. A line that cannot be used is an [`Error::Input`] with its number,
/// and the next item is the next line: a line that is not JSON or not UTF-8, that lacks `custom_id` or a body, that
/// belongs to a request that was not [expected](Self::with_expected), or that is the second of the same request. After
/// an [`Error::Io`] there are no more items.
#[derive(Debug)]
pub struct BatchReader<R = BufReader<File>> {
    path: PathBuf,
    input: Option<R>,
    line: u64,
    /// Where the line and the next one begin, in bytes.
    span: (u64, u64),
    expected: Option<HashSet<String>>,
    seen: HashSet<String>,
}

impl BatchReader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        Ok(Self::new(path, BufReader::new(file)))
    }
}

impl<R: BufRead> BatchReader<R> {
    /// Reads from any source; errors name it by the path.
    pub fn new(path: impl Into<PathBuf>, input: R) -> Self {
        Self {
            path: path.into(),
            input: Some(input),
            line: 0,
            span: (0, 0),
            expected: None,
            seen: HashSet::new(),
        }
    }

    /// Sets the requests whose results are expected. By default those of any request.
    #[must_use]
    pub fn with_expected(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.expected = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Where the last item begins and ends, in bytes.
    pub(super) fn span(&self) -> (u64, u64) {
        self.span
    }

    /// The next line that is not empty.
    fn line(&mut self) -> Option<Result<Vec<u8>>> {
        loop {
            let mut bytes = Vec::new();
            match self.input.as_mut()?.read_until(b'\n', &mut bytes) {
                Ok(0) => {
                    self.input = None;
                    return None;
                }
                Ok(read) => {
                    self.line += 1;
                    self.span = (self.span.1, self.span.1 + read as u64);
                }
                Err(error) => {
                    self.input = None;
                    return Some(Err(Error::io(&self.path, error)));
                }
            }
            if self.line == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            if !bytes.trim_ascii().is_empty() {
                return Some(Ok(bytes));
            }
        }
    }

    fn row(&mut self, line: &[u8]) -> Result<BatchRow, &'static str> {
        let row = BatchRow::parse(line)?;
        let id = row.custom_id();
        if self.expected.as_ref().is_some_and(|ids| !ids.contains(id)) {
            return Err("its custom_id is none of the batch's; is it the file of another batch?");
        }
        if !self.seen.insert(id.to_owned()) {
            return Err("its custom_id stands in an earlier line too, which counts");
        }
        Ok(row)
    }
}

impl<R: BufRead> Iterator for BatchReader<R> {
    type Item = Result<BatchRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.line()? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let row = self.row(&line);
        Some(row.map_err(|reason| {
            let reason = format!("{reason}; the other lines are read");
            Error::input(&self.path, self.line, reason)
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OK: &str = r#"{"id":"r","custom_id":"a","response":{"status_code":200,"request_id":"q","body":{"choices":[]}},"error":null}"#;

    fn reasons(bytes: &[u8]) -> Vec<String> {
        let reader = BatchReader::new("out.jsonl", bytes).with_expected(["a", "b", "c"]);
        reader
            .map(|row| match row {
                Ok(row) => row.custom_id().to_owned(),
                Err(error) => error.report(),
            })
            .collect()
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_are_read() {
        let mut file = Vec::from(b"\xef\xbb\xbf");
        for line in [
            OK.as_bytes(),
            b"",
            b"{\"custom_id\": \"b\", \"resp",
            b"{\"custom_id\": \"b\", \"response\": 7}",
            b"{\"custom_id\": \"\xff\", \"error\": {}}",
            br#"{"custom_id": "x", "error": {"code": "batch_expired"}}"#,
            br#"{"error": {"code": "batch_expired"}}"#,
            br#"{"custom_id": "b"}"#,
            br#"{"custom_id": "b", "response": {"status_code": 200, "body": null}}"#,
            br#"{"custom_id": "b", "response": {"status_code": 7, "body": {}}}"#,
            OK.as_bytes(),
            br#"{"custom_id": "b", "response": null, "error": {"code": "batch_expired"}}"#,
            br#"{"custom_id": "c", "response": {"status_code": 400}, "error": "no"}"#,
        ] {
            file.extend_from_slice(line);
            file.extend_from_slice(b"\r\n");
        }
        let says =
            |line: u64, what: &str| format!("out.jsonl:{line}: {what}; the other lines are read");
        assert_eq!(
            reasons(&file),
            [
                "a".to_owned(),
                says(3, "it is no whole JSON"),
                says(4, "it is no result of a request"),
                says(5, "it is not in UTF-8"),
                says(
                    6,
                    "its custom_id is none of the batch's; is it the file of another batch?"
                ),
                says(7, "it has no custom_id"),
                says(8, "it has neither a response nor an error"),
                says(9, "it has no body"),
                says(10, "its status_code is none of HTTP"),
                says(
                    11,
                    "its custom_id stands in an earlier line too, which counts"
                ),
                "b".to_owned(),
                "c".to_owned(),
            ]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_give_one_item_a_line_and_no_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
            let file = lines.join(&b'\n');
            let full = file.split(|byte| *byte == b'\n').enumerate().filter(|(at, line)| {
                let line = if *at == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
                !line.trim_ascii().is_empty()
            });
            prop_assert_eq!(BatchReader::new("-", file.as_slice()).count(), full.count());
        }

        // Nearer to the format than bytes by chance: a good file with some of them changed, cut or put in.
        #[test]
        fn a_damaged_file_keeps_its_other_lines(at in 0..OK.len(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut middle = OK.replace(r#""a""#, r#""b""#).into_bytes();
            if cut { middle.truncate(at) } else { middle[at] = byte }
            let last = OK.replace(r#""a""#, r#""c""#);
            let file = [OK.as_bytes(), &middle, last.as_bytes()].join(&b'\n');
            let found: Vec<String> = BatchReader::new("-", file.as_slice()).flatten().map(|row| row.custom_id().to_owned()).collect();
            prop_assert_eq!(&found[0], "a");
            prop_assert!(found.iter().any(|id| id == "c"));
        }
    }
}
