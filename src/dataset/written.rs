//! The pairs of a [`SelfInstruct`](crate::stages::SelfInstruct), kept as they come.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{existing::Existing, instructions::InstructionPair};
use crate::{
    error::{Error, Result},
    files::Lock,
    record::ModelId,
};

/// A file that keeps the pairs of a [`SelfInstruct`](crate::stages::SelfInstruct) as they come, so that a kill loses
/// none.
///
/// Its first line says who wrote the pairs, with which seed. Then comes one line for each number: its pair, or `null`
/// if none came of it. As long as it is open, no other process writes into it.
///
/// ```no_run
/// # async fn write(model: impl safer_instruct::ChatModel, id: safer_instruct::ModelId) -> safer_instruct::Result<()> {
/// use futures::StreamExt;
/// use safer_instruct::{dataset::{Existing, WrittenPairs}, stages::SelfInstruct};
///
/// let writer = SelfInstruct::new(model);
/// let mut written = WrittenPairs::open("written.jsonl", &id, 0, Existing::Resume)?;
/// let mut pairs = Box::pin(writer.stream(written.pairs().len()..700, 0));
/// while let Some(pair) = pairs.next().await {
///     written.push(pair?)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WrittenPairs {
    path: PathBuf,
    file: File,
    pairs: Vec<Option<InstructionPair>>,
}

impl WrittenPairs {
    /// Opens the file, or makes it, and reads the pairs of the same writer and seed. The pairs of another writer or
    /// seed are removed with [`Existing::Overwrite`], and refused otherwise. A last line that a kill cut off is
    /// removed.
    ///
    /// # Errors
    /// [`Error::Input`] if a line is damaged, or the pairs are of another writer or seed; [`Error::Io`] if the file
    /// cannot be read or written, or another process has it open.
    pub fn open(
        path: impl Into<PathBuf>,
        writer: &ModelId,
        seed: u64,
        existing: Existing,
    ) -> Result<Self> {
        let path = path.into();
        let failed = |error| Error::io(&path, error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        }
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        Lock::hold(&file, &path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |end| end + 1));

        let about = json!({"writer": writer, "seed": seed});
        let pairs = match read(&path, &bytes, &about)? {
            Some(pairs) => pairs,
            None if bytes.is_empty() || existing == Existing::Overwrite => {
                bytes = format!("{about}\n").into_bytes();
                file.set_len(0).map_err(failed)?;
                file.rewind().map_err(failed)?;
                file.write_all(&bytes).map_err(failed)?;
                Vec::new()
            }
            None => {
                let reason = format!(
                    "its pairs are of another writer or seed than {about}; overwrite them, or take another folder"
                );
                return Err(Error::input(&path, 1, reason));
            }
        };
        file.set_len(bytes.len() as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { path, file, pairs })
    }

    /// The pairs by their numbers, from 0.
    #[must_use]
    pub fn pairs(&self) -> &[Option<InstructionPair>] {
        &self.pairs
    }

    /// Adds the pair of the next number after the others.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn push(&mut self, pair: Option<InstructionPair>) -> Result<()> {
        writeln!(self.file, "{}", json!(pair)).map_err(|error| Error::io(&self.path, error))?;
        self.pairs.push(pair);
        Ok(())
    }
}

/// The pairs of a file; none if its first line says something else.
fn read(path: &Path, bytes: &[u8], about: &Value) -> Result<Option<Vec<Option<InstructionPair>>>> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let first = lines
        .next()
        .and_then(|line| serde_json::from_slice::<Value>(line).ok());
    if first.as_ref() != Some(about) {
        return Ok(None);
    }
    let damaged =
        |number| move |_| Error::input(path, number, "this line is damaged; remove the file");
    let pairs = lines
        .zip(2..)
        .map(|(line, number)| serde_json::from_slice(line).map_err(damaged(number)));
    pairs.collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(number: usize) -> Option<InstructionPair> {
        (number != 1)
            .then(|| InstructionPair::new(format!("Count to {number}."), "One, two, three."))
    }

    #[test]
    fn pairs_come_back_and_a_line_that_was_cut_off_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/written.jsonl");
        let open = |name: &str, seed, existing| {
            WrittenPairs::open(&path, &ModelId::new(name), seed, existing)
        };
        let mut written = open("writer", 1, Existing::Refuse).unwrap();
        for number in 0..3 {
            written.push(pair(number)).unwrap();
        }
        let error = open("writer", 1, Existing::Refuse).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "it is open: {error}");
        drop(written);
        let whole = fs::read(&path).unwrap();

        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let mut written = open("writer", 1, Existing::Refuse).unwrap();
        assert_eq!(written.pairs(), [pair(0), pair(1)]);
        written.push(pair(2)).unwrap();
        drop(written);
        assert!(fs::read(&path).unwrap() == whole);
        // Overwriting takes over what the same writer would write again.
        let written = open("writer", 1, Existing::Overwrite).unwrap();
        assert_eq!(written.pairs().len(), 3);
        drop(written);

        for (name, seed) in [("other", 1), ("writer", 2)] {
            for existing in [Existing::Refuse, Existing::Resume] {
                let error = open(name, seed, existing).unwrap_err();
                assert!(error.to_string().contains("another writer or seed"));
            }
        }
        assert!(fs::read(&path).unwrap() == whole);
        let written = open("other", 1, Existing::Overwrite).unwrap();
        assert_eq!(written.pairs(), []);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("written.jsonl");
        let open = || WrittenPairs::open(&path, &ModelId::new("writer"), 1, Existing::Resume);
        open().unwrap().push(pair(0)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend(b"{\"instruction\": 7}\n");
        fs::write(&path, bytes).unwrap();
        assert!(matches!(
            open().unwrap_err(),
            Error::Input { line: Some(3), .. }
        ));
    }
}
