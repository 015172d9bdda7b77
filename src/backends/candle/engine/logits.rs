//! What is done with the logits of a step before its sequences continue: the work on whole rows, in parallel.

use rayon::prelude::*;

use super::{
    job::{CompleteJob, Logprob},
    scoring::logprob,
};
use crate::{
    backends::candle::kernels::logits::{likeliest, log_sum_exp},
    error::Result,
};

/// What the rows of one sequence are read for.
#[derive(Debug)]
pub(super) enum Reader<'a> {
    /// The next token after the history, by the last row.
    Token {
        job: &'a mut CompleteJob,
        history: &'a [u32],
        /// Tokens that may still be written.
        left: usize,
    },
    /// The likelihoods of given tokens.
    Scores,
}

/// What came of the rows of one sequence.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// It had none.
    Nothing,
    /// The token, or `None` if the logits are no numbers.
    Token(Result<Option<Chosen>>),
    /// Each row with its `log sum exp`.
    Scores(Vec<(&'a [f32], f64)>),
}

/// The next token, and how likely it was if that is wanted.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) token: u32,
    pub(super) logprob: Option<Logprob>,
}

impl Reader<'_> {
    fn read(self, rows: &mut [f32], vocab: usize) -> Outcome<'_> {
        if rows.is_empty() {
            return Outcome::Nothing;
        }
        match self {
            Self::Token { job, history, left } => {
                let last = rows.len().saturating_sub(vocab);
                let logits = rows.get_mut(last..).unwrap_or_default();
                Outcome::Token(choose(job, history, left, logits))
            }
            Self::Scores => Outcome::Scores(
                rows.par_chunks_exact(vocab)
                    .map(|row| (row, log_sum_exp(row)))
                    .collect(),
            ),
        }
    }
}

fn choose(
    job: &mut CompleteJob,
    history: &[u32],
    left: usize,
    logits: &mut [f32],
) -> Result<Option<Chosen>> {
    // The model's own distribution, before anything changes it.
    let own = job.top_logprobs.map(|count| {
        let log_sum = log_sum_exp(logits);
        let top = likeliest(logits, count, f32::MIN).into_iter();
        let top = top.map(|(token, logit)| (token, f64::from(logit) - log_sum));
        (top.collect(), log_sum, logits.to_vec())
    });
    if let Some(constraint) = &mut job.constraint {
        constraint.mask(logits, left)?;
    }
    let Some(token) = job.sampler.sample(logits, history) else {
        return Ok(None);
    };
    if let Some(constraint) = &mut job.constraint {
        constraint.accept(token)?;
    }
    let logprob = own.map(|(top, log_sum, logits)| Logprob {
        token,
        logprob: logprob(&logits, token, log_sum),
        top,
    });
    let is_number = logprob.as_ref().is_none_or(|one| one.logprob.is_finite());
    Ok(is_number.then_some(Chosen { token, logprob }))
}

/// Reads the logits of a step, `(rows of all readers, vocab)`; each reader comes with the number of its rows.
pub(super) fn read_all<'a>(
    readers: Vec<(Reader<'_>, usize)>,
    logits: &'a mut [f32],
) -> Vec<Outcome<'a>> {
    let rows: usize = readers.iter().map(|(_, wanted)| wanted).sum();
    let vocab = (logits.len() / rows.max(1)).max(1);
    let mut rest = logits;
    let tasks: Vec<_> = readers
        .into_iter()
        .map(|(reader, wanted)| {
            let (rows, others) = std::mem::take(&mut rest).split_at_mut(wanted * vocab);
            rest = others;
            (reader, rows)
        })
        .collect();
    tasks
        .into_par_iter()
        .map(|(reader, rows)| reader.read(rows, vocab))
        .collect()
}
