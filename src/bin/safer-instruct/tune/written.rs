//! Pairs that a model writes. Each is kept in the output folder as soon as it is written, so that a kill loses none.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt, executor::block_on, pin_mut};
use safer_instruct::{
    Error, Result,
    backends::candle::CandleModel,
    dataset::{Existing, InstructionPair},
    stages::SelfInstruct,
    train::remove_run,
};
use serde_json::{Value, json};

use super::Options;
use crate::{stop::Stop, training::STOPPING};

/// A line about the writer, then one for every number: its pair, or `null` if none came of it.
const FILE: &str = "written.jsonl";
/// The longest silence.
const QUIET: Duration = Duration::from_secs(10);

/// The pairs of the first `count` numbers, those that are kept and those that are still to be written; none if it was stopped.
pub(super) fn pairs(
    options: &Options,
    count: usize,
    stop: &Stop,
) -> Result<Option<Vec<InstructionPair>>> {
    let writer = options.writer.as_ref().unwrap_or(&options.model.model);
    let writer = CandleModel::load(options.model.fetch_file(writer)?)?;
    let about = json!({"writer": *writer.model_id(), "seed": options.seed});
    fs::create_dir_all(&options.output).map_err(|error| Error::io(&options.output, error))?;
    let path = options.output.join(FILE);
    let failed = |error| Error::io(&path, error);
    let mut file = open(&path)?;
    let mut pairs = kept(&path, &mut file, &about, options.existing.choice())?;
    if pairs.len() < count && options.existing.choice() == Existing::Overwrite {
        // If this is stopped, --resume must not meet the run of before.
        remove_run(&options.output)?;
    }
    let (there, begun) = (pairs.len(), Instant::now());
    if there < count {
        eprintln!("writing {count} pairs, of which {there} are there");
    }
    let writer = SelfInstruct::new(writer);
    let written = writer.stream(there..count, options.seed);
    pin_mut!(written);
    let mut told = begun;
    stop.end_in_order(STOPPING);
    while let Some(pair) = block_on(written.next()) {
        let pair = pair?;
        writeln!(file, "{}", json!(pair)).map_err(failed)?;
        pairs.push(pair);
        if stop.is_asked() {
            return Ok(None);
        }
        if told.elapsed() >= QUIET || pairs.len() == count {
            told = Instant::now();
            let each = begun.elapsed().as_secs_f64() / (pairs.len() - there) as f64;
            let left = each * (count - pairs.len()) as f64;
            eprintln!("{} of {count} pairs written, {left:.0} s left", pairs.len());
        }
    }
    stop.end_at_once();
    pairs.truncate(count);
    Ok(Some(pairs.into_iter().flatten().collect()))
}

/// Opens the file, and keeps other processes from writing into it.
fn open(path: &Path) -> Result<File> {
    let failed = |error| Error::io(path, error);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).map_err(failed)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(failed(io::Error::other(
            "another process is writing pairs into this file",
        ))),
        // Some network file systems know no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// The pairs that the file holds, which others are put behind. What the same writer wrote with the same seed is kept in any case: it
/// would write the same again.
fn kept(
    path: &Path,
    file: &mut File,
    about: &Value,
    existing: Existing,
) -> Result<Vec<Option<InstructionPair>>> {
    let failed = |error| Error::io(path, error);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    // A line that was cut off by a kill is written anew.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.truncate(whole.map_or(0, |end| end + 1));
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let mut pairs = Vec::new();
    let of_this = lines.next().is_some_and(|line| {
        serde_json::from_slice::<Value>(line).is_ok_and(|found| found == *about)
    });
    if of_this {
        for (line, number) in lines.zip(2..) {
            let damaged = |_| Error::input(path, number, "this line is damaged; remove the file");
            pairs.push(serde_json::from_slice(line).map_err(damaged)?);
        }
    } else if bytes.is_empty() || existing == Existing::Overwrite {
        bytes = format!("{about}\n").into_bytes();
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
    } else {
        let reason = format!(
            "its pairs are of another writer or seed than {about}; give --overwrite, or another folder by --output"
        );
        return Err(Error::input(path, 1, reason));
    }
    file.set_len(bytes.len() as u64).map_err(failed)?;
    file.seek(SeekFrom::End(0)).map_err(failed)?;
    Ok(pairs)
}
