//! Pairs that a model writes, kept in the output folder as they come, so that no kill loses them.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt, executor::block_on, pin_mut};
use safer_instruct::{
    Error, Result,
    backends::candle::CandleModel,
    dataset::{Existing, InstructionPair},
    train::SelfInstruct,
};
use serde_json::{Value, json};

use crate::{
    options::Options,
    process::{Stop, fetch},
};

/// A line about the run, then one for every number: its pair, or `null` if none came of it.
const FILE: &str = "written.jsonl";
/// The longest silence.
const QUIET: Duration = Duration::from_secs(10);

/// The pairs of the first `count` numbers, those that are kept and those that are still to be written; none if it was stopped.
pub(crate) fn pairs(
    options: &Options,
    count: usize,
    stop: &Stop,
) -> Result<Option<Vec<InstructionPair>>> {
    fs::create_dir_all(&options.output).map_err(|error| Error::io(&options.output, error))?;
    let path = options.output.join(FILE);
    let writer = options.writer.as_ref().unwrap_or(&options.model);
    let about = json!({"writer": writer.to_string(), "seed": options.seed});
    let (mut pairs, mut file) = open(&path, &about, options.existing())?;
    if pairs.len() < count {
        let writer = CandleModel::load(fetch(options.cache.as_ref(), writer)?)?;
        let (kept, begun) = (pairs.len(), Instant::now());
        eprintln!("writing {count} pairs, of which {kept} are there");
        let writer = SelfInstruct::new(writer);
        let written = writer.stream(kept..count, options.seed);
        pin_mut!(written);
        let mut told = Instant::now();
        while let Some(pair) = block_on(written.next()) {
            let pair = pair?;
            let line = json!(pair);
            writeln!(file, "{line}").map_err(|error| Error::io(&path, error))?;
            pairs.push(pair);
            if stop.is_heard() && pairs.len() < count {
                return Ok(None);
            }
            if told.elapsed() >= QUIET || pairs.len() == count {
                told = Instant::now();
                let each = begun.elapsed().as_secs_f64() / (pairs.len() - kept) as f64;
                let left = each * (count - pairs.len()) as f64;
                eprintln!("{} of {count} pairs written, {left:.0} s left", pairs.len());
            }
        }
    }
    pairs.truncate(count);
    Ok(Some(pairs.into_iter().flatten().collect()))
}

/// The pairs that are kept, and the file that others are put into.
fn open(
    path: &Path,
    about: &Value,
    existing: Existing,
) -> Result<(Vec<Option<InstructionPair>>, File)> {
    let failed = |error| Error::io(path, error);
    let kept = path.exists() && existing != Existing::Overwrite;
    if kept && existing == Existing::Refuse {
        let reason = "pairs were written into this folder already; give --resume, --overwrite or another folder by --output";
        return Err(Error::input(path, None, reason));
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(!kept);
    let mut pairs = Vec::new();
    let mut length = 0;
    if kept {
        let text = fs::read_to_string(path).map_err(failed)?;
        // A line that was cut off by a kill is written anew.
        let whole = text
            .rfind('\n')
            .map_or("", |end| text.get(..=end).unwrap_or_default());
        length = whole.len() as u64;
        for (line, number) in whole.lines().zip(1..) {
            let damaged = |_| Error::input(path, number, "this line is damaged; give --overwrite");
            if number > 1 {
                pairs.push(serde_json::from_str(line).map_err(damaged)?);
            } else if serde_json::from_str::<Value>(line).map_err(damaged)? != *about {
                let reason = format!(
                    "its pairs were written otherwise than {about} says; give --overwrite or another folder by --output"
                );
                return Err(Error::input(path, number, reason));
            }
        }
    }
    let mut file = options.open(path).map_err(failed)?;
    file.set_len(length).map_err(failed)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).map_err(failed)?;
    if length == 0 {
        writeln!(file, "{about}").map_err(failed)?;
    }
    Ok((pairs, file))
}
