//! What becomes of the logits of a step before its sequences go on: the work on whole rows, side by side.

use rayon::prelude::*;

use super::{job::CompleteJob, kernels::logits::log_sum_exp};

/// What the rows of one sequence are read for.
#[derive(Debug)]
pub(super) enum Reader<'a> {
    /// The next token after the history, by the last row.
    Token {
        job: &'a mut CompleteJob,
        history: &'a [u32],
    },
    /// The likelihoods of given tokens.
    Scores,
}

/// What came of the rows of one sequence.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// It had none.
    Nothing,
    /// The token, or `None` if no logit is a number.
    Token(Option<u32>),
    /// Each row with its `log sum exp`.
    Scores(Vec<(&'a [f32], f64)>),
}

impl Reader<'_> {
    fn read(self, rows: &mut [f32], vocab: usize) -> Outcome<'_> {
        if rows.is_empty() {
            return Outcome::Nothing;
        }
        match self {
            Self::Token { job, history } => {
                let last = rows.len().saturating_sub(vocab);
                let logits = rows.get_mut(last..).unwrap_or_default();
                Outcome::Token(job.sampler.sample(logits, history))
            }
            Self::Scores => Outcome::Scores(
                rows.par_chunks_exact(vocab)
                    .map(|row| (row, log_sum_exp(row)))
                    .collect(),
            ),
        }
    }
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
