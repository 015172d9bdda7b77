//! Pairs that a model writes.

use std::time::{Duration, Instant};

use futures::{StreamExt, executor::block_on, pin_mut};
use safer_instruct::{
    Result,
    backends::candle::CandleModel,
    dataset::{Existing, InstructionPair, WrittenPairs},
    stages::SelfInstruct,
    train::remove_run,
};

use super::Options;
use crate::{stop::Stop, training::STOPPING};

/// Name of the file in the output folder that keeps the pairs.
const FILE: &str = "written.jsonl";
/// The longest time without a line.
const QUIET: Duration = Duration::from_secs(10);

/// The pairs of the first `count` numbers, those that are kept and those that are still to be written; none if it was
/// stopped.
pub(super) fn pairs(
    options: &Options,
    count: usize,
    stop: &Stop,
) -> Result<Option<Vec<InstructionPair>>> {
    let (seed, existing) = (options.seed, options.existing.choice());
    let writer = options.writer.as_ref().unwrap_or(&options.model.model);
    let writer = CandleModel::load(options.model.fetch_file(writer)?)?;
    let path = options.output.join(FILE);
    let mut written = WrittenPairs::open(path, writer.model_id(), seed, existing)?;
    let (there, begun) = (written.pairs().len(), Instant::now());
    if there < count {
        if existing == Existing::Overwrite {
            // After a stop, --resume must not find the earlier run.
            remove_run(&options.output)?;
        }
        eprintln!("writing {count} pairs, of which {there} are there");
    }
    let writer = SelfInstruct::new(writer);
    let pairs = writer.stream(there..count, seed);
    pin_mut!(pairs);
    let mut told = begun;
    stop.end_in_order(STOPPING);
    while let Some(pair) = block_on(pairs.next()) {
        written.push(pair?)?;
        if stop.is_asked() {
            return Ok(None);
        }
        let done = written.pairs().len();
        if told.elapsed() >= QUIET || done == count {
            told = Instant::now();
            let each = begun.elapsed().as_secs_f64() / (done - there) as f64;
            let left = each * (count - done) as f64;
            eprintln!("{done} of {count} pairs written, {left:.0} s left");
        }
    }
    stop.end_at_once();
    let pairs = written.pairs().iter().take(count);
    Ok(Some(pairs.flatten().cloned().collect()))
}
