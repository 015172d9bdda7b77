//! Which pairs are trained on, and which are measured on.

use std::{collections::HashSet, path::Path};

use futures::executor::block_on;
use safer_instruct::{
    Error, Result,
    backends::candle::CandleModel,
    dataset::{InstructionPair, hold_out},
    stages::{Grounding, distinct_instructions},
};

use super::{Options, written};
use crate::{
    measure::{read_pairs, read_share_gpt, share_gpt},
    stop::Stop,
    training::free_pairs,
};

/// Pairs to train on, and others to measure on, both in an order that the seed chooses.
pub(super) struct Choice {
    pub(super) train: Vec<InstructionPair>,
    pub(super) held_out: Vec<InstructionPair>,
    pub(super) places: Places,
}

/// Where pairs stand in their files, as `file:line`.
#[derive(Default)]
pub(super) struct Places(Vec<(InstructionPair, String)>);

impl Places {
    /// The place of a pair; none if it is not from a file that the user named.
    pub(super) fn of(&self, pair: &InstructionPair) -> Option<String> {
        let mut places = self.0.iter();
        let found = places.find(|(other, _)| other == pair);
        found.map(|(_, place)| place.clone())
    }
}

impl Choice {
    /// Reads, downloads or writes the pairs, and divides them. None if it was stopped.
    pub(super) fn of(options: &Options, stop: &Stop) -> Result<Option<Self>> {
        let (seed, most) = (options.seed, options.held_out);
        let mut places = Places::default();
        let all = match (&options.pairs, options.self_instruct) {
            (Some(path), _) => read(options, path, &mut places)?,
            (None, Some(count)) => match write_pairs(options, count, stop)? {
                Some(pairs) => pairs,
                None => return Ok(None),
            },
            (None, None) => free_pairs::pairs(|source| options.model.fetch_file(source), seed)?,
        };
        let (train, mut held_out) = match &options.held_out_pairs {
            Some(path) => {
                let others = read(options, path, &mut places)?;
                (hold_out(all, 0, seed).0, hold_out(others, most, seed).1)
            }
            None => hold_out(all, most, seed),
        };
        if train.is_empty() {
            let reason = format!(
                "--held-out takes all {} pairs, and none is left to train on; hold out fewer",
                held_out.len()
            );
            return Err(Error::config("held_out", reason));
        }
        held_out.truncate(most);
        let count = train.len();
        let mut train = apart(train, &held_out);
        if train.len() < count {
            eprintln!(
                "{} pairs are not trained on: their instruction or response stands among those that are held out",
                count - train.len()
            );
        }
        if train.is_empty() {
            let reason = "none is left to train on: the instruction or the response of each stands among those that are held out";
            return Err(Error::config("pairs", reason));
        }
        train.truncate(options.limit);
        Ok(Some(Self {
            train,
            held_out,
            places,
        }))
    }
}

/// The pairs that share neither their instruction nor their response with one of the others.
fn apart(pairs: Vec<InstructionPair>, others: &[InstructionPair]) -> Vec<InstructionPair> {
    let texts = |text: fn(&InstructionPair) -> &str| -> HashSet<&str> {
        others.iter().map(|pair| text(pair).trim()).collect()
    };
    let (instructions, responses) = (
        texts(|pair| &pair.instruction),
        texts(|pair| &pair.response),
    );
    let shares = |pair: &InstructionPair| {
        instructions.contains(pair.instruction.trim()) || responses.contains(pair.response.trim())
    };
    pairs.into_iter().filter(|pair| !shares(pair)).collect()
}

fn read(options: &Options, path: &Path, places: &mut Places) -> Result<Vec<InstructionPair>> {
    if path == Path::new("sharegpt") {
        return read_share_gpt(&options.model.fetch_file(&share_gpt())?);
    }
    let read = read_pairs(path, options.skip_bad)?;
    let place = |(pair, line): &(InstructionPair, u64)| {
        (pair.clone(), format!("{}:{line}", path.display()))
    };
    places.0.extend(read.iter().map(place));
    Ok(read.into_iter().map(|(pair, _)| pair).collect())
}

/// Pairs that a model writes, as far as the model that is tuned finds them grounded; none if it was stopped.
fn write_pairs(
    options: &Options,
    count: usize,
    stop: &Stop,
) -> Result<Option<Vec<InstructionPair>>> {
    let Some(pairs) = written::pairs(options, count, stop)? else {
        return Ok(None);
    };
    let pairs = distinct_instructions(pairs);
    let written = pairs.len();
    eprintln!("comparing the responses of {written} pairs");
    let model = CandleModel::load(options.model.fetch()?)?;
    let grounding = Grounding::new(model).with_least(options.grounding);
    let (pairs, dropped) = block_on(grounding.keep(pairs))?;
    eprintln!(
        "{count} pairs asked for, {written} whole and distinct, {dropped} of them not grounded"
    );
    if pairs.is_empty() {
        let reason = format!(
            "of {written} pairs that were written none is grounded by {} nats a token; ask for more, or lower --grounding",
            options.grounding
        );
        return Err(Error::config("self_instruct", reason));
    }
    Ok(Some(pairs))
}
