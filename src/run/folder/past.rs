//! Reads the outcomes that a folder has, in input order.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::mark::{Mark, parse_hash};
use crate::{
    dataset::Kind,
    error::{Error, Result},
    record::PreferencePair,
    run::store::{PastOutcome, PastQuery},
};

/// Where reading has come to.
#[derive(Debug)]
pub(super) struct Past {
    marks: Lines,
    pairs: Lines,
    /// The place of the next mark.
    place: u64,
    with_pairs: bool,
}

impl Past {
    pub(super) fn open(progress: &Path, pairs: &Path, with_pairs: bool) -> Result<Self> {
        let mut marks = Lines::open(progress)?;
        // The header.
        marks.next()?;
        Ok(Self {
            marks,
            pairs: Lines::open(pairs)?,
            place: 0,
            with_pairs,
        })
    }

    /// Whether it can go on with what is asked for.
    pub(super) fn can_go_on(&self, query: PastQuery) -> bool {
        self.place <= query.from && self.with_pairs == query.pairs
    }

    /// Reads on. There are `done` outcomes.
    pub(super) fn read(&mut self, query: PastQuery, done: u64) -> Result<Vec<PastOutcome>> {
        let mut past = Vec::new();
        while self.place < done && past.len() < query.most as usize {
            let Some(line) = self.marks.next()? else {
                return Err(self.marks.damaged());
            };
            let mark: Mark<'_> = serde_json::from_slice(line).map_err(|_| self.marks.damaged())?;
            let Some(text_hash) = parse_hash(&mark.sha256) else {
                return Err(self.marks.damaged());
            };
            let mut outcome = PastOutcome {
                place: self.place,
                source_id: mark.id.into_owned(),
                draw: mark.draw,
                text_hash,
                pair: mark.pair.map(|pair| Box::new(pair.into_owned())),
            };
            let kind = mark.kind;
            self.place += 1;
            if kind == Kind::Kept && self.with_pairs {
                outcome.pair = Some(self.next_pair()?);
            }
            let wanted = outcome.place >= query.from && (kind == Kind::Failed || !query.failed);
            if wanted {
                past.push(outcome);
            }
        }
        Ok(past)
    }

    fn next_pair(&mut self) -> Result<Box<PreferencePair>> {
        match self.pairs.next()? {
            Some(line) => serde_json::from_slice(line).map_err(|_| self.pairs.damaged()),
            None => Err(self.pairs.damaged()),
        }
    }
}

/// The whole lines of a file, one after the other.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            line: Vec::new(),
        })
    }

    fn next(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        self.file
            .read_until(b'\n', &mut self.line)
            .map_err(|error| Error::io(&self.path, error))?;
        Ok(self.line.strip_suffix(b"\n"))
    }

    fn damaged(&self) -> Error {
        let reason = "a line is damaged or was changed; choose another folder or overwrite the run";
        Error::input(&self.path, None, reason)
    }
}
