//! Which pairs are trained on, and which are measured on.

use std::{collections::HashSet, path::PathBuf};

use safer_instruct::{
    Error, Result,
    dataset::{HoldOut, InstructionPair, Preference, hold_out, read_preferences},
    train::Prepared,
};

use super::Options;
use crate::training::{free_pairs, name_left_out};

/// How many pairs are held out by default, or one in five if that is less.
const HELD_OUT: usize = 40;

/// A pair, and its line if it is from a file.
pub(super) struct Pair {
    pub(super) texts: Preference,
    line: Option<u64>,
}

impl HoldOut for Pair {
    fn asks(&self) -> &str {
        self.texts.asks()
    }

    fn answers(&self) -> [&str; 2] {
        self.texts.answers()
    }
}

/// Pairs to train on, and others to measure on, in an order that the seed chooses.
pub(super) struct Choice {
    train: Vec<Pair>,
    pub(super) held_out: Vec<Pair>,
    path: Option<PathBuf>,
}

impl Choice {
    /// Reads or downloads the pairs, and divides them.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let pairs = match &options.pairs {
            Some(path) => {
                let mut reader = read_preferences(path)?;
                let mut pairs = Vec::new();
                while let Some(texts) = reader.next() {
                    let (texts, line) = (texts?, reader.line());
                    pairs.push(Pair { texts, line });
                }
                pairs
            }
            None => {
                let fetch = |source: &_| options.model.fetch_file(source);
                let all = free_pairs::pairs(fetch, options.seed)?;
                all.iter().filter_map(short_and_long).collect()
            }
        };
        let count = pairs.len();
        let most = options.held_out.unwrap_or(HELD_OUT.min(count / 5));
        let (train, held_out) = hold_out(pairs, most, options.seed);
        let whole = train.len();
        let mut train = apart(train, &held_out);
        if train.len() < whole {
            eprintln!(
                "{} pairs are not trained on: their rejected response stands among those that are held out",
                whole - train.len()
            );
        }
        if train.is_empty() {
            let reason = format!(
                "of {count} pairs {} are held out, and none is left to train on; hold out fewer by --held-out, or give more",
                held_out.len()
            );
            return Err(Error::config("pairs", reason));
        }
        if train.len() > options.limit {
            eprintln!("{} of {} pairs, by --limit", options.limit, train.len());
            train.truncate(options.limit);
        }
        let path = options.pairs.clone();
        Ok(Self {
            train,
            held_out,
            path,
        })
    }

    /// Examples to train on and to measure on; prints how many there are, and names the pairs that give none.
    pub(super) fn prepare(
        &self,
        what: &str,
        make: impl Fn(&[Pair]) -> Result<Prepared>,
    ) -> Result<[Prepared; 2]> {
        let train = self.prepare_some(&self.train, &format!("to train on, {what}"), &make)?;
        let held_out = format!("to measure on, {what}");
        Ok([train, self.prepare_some(&self.held_out, &held_out, &make)?])
    }

    fn prepare_some(
        &self,
        pairs: &[Pair],
        what: &str,
        make: impl Fn(&[Pair]) -> Result<Prepared>,
    ) -> Result<Prepared> {
        let prepared = make(pairs)?;
        eprintln!("{} pairs {what}", prepared.examples.len());
        name_left_out(&prepared, what, |at| {
            let (path, line) = (self.path.as_ref()?, pairs.get(at)?.line?);
            Some(format!("{}:{line}", path.display()))
        });
        if prepared.examples.is_empty() && !pairs.is_empty() {
            let reason = format!(
                "of {} pairs none is left {what}; the reasons stand above, and --max-tokens bounds their length",
                pairs.len()
            );
            return Err(Error::config("pairs", reason));
        }
        Ok(prepared)
    }
}

/// The pairs that do not share their rejected response with one of the others: several prompts may have been found for
/// one source text. Chosen responses may be alike: refusals often are.
fn apart(pairs: Vec<Pair>, others: &[Pair]) -> Vec<Pair> {
    let others: HashSet<&str> = others
        .iter()
        .map(|pair| pair.texts.rejected.trim())
        .collect();
    let shares = |pair: &Pair| others.contains(pair.texts.rejected.trim());
    pairs.into_iter().filter(|pair| !shares(pair)).collect()
}

/// The first sentence of a response, and all of it, if that is much longer.
fn short_and_long(pair: &InstructionPair) -> Option<Pair> {
    let end = pair.response.find(". ")? + 1;
    let (short, _) = pair.response.split_at(end);
    let fits = short.len() > 20 && pair.response.len() > 3 * short.len();
    fits.then(|| Pair {
        texts: Preference {
            prompt: pair.instruction.clone(),
            chosen: short.to_owned(),
            rejected: pair.response.clone(),
        },
        line: None,
    })
}
