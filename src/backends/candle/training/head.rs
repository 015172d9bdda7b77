//! Log-probabilities of tokens, and their gradient, without ever holding all logits.

use rayon::prelude::*;

use crate::backends::candle::kernels::{
    gemm::Mismatch,
    logits::{log_sum_exp, weights},
};

use super::projection::Projection;

/// Rows whose logits are made together: 64 x 49,152 logits are 12.6 MB.
const ROWS: usize = 64;

/// Log-probabilities of tokens.
pub(super) struct Logprobs {
    /// One for each row.
    pub(super) values: Vec<f64>,
    /// Of each row the gradient of its log-probability in the row, `(rows, hidden)`; empty if it is not wanted.
    ///
    /// It is the row of `W` of the token, less the mean of all rows by their probability. So the logits are needed
    /// once, and what a loss makes of the log-probabilities scales it (as fused in Liger Kernel, arXiv 2410.10989,
    /// section 3.2).
    pub(super) gradient: Vec<f32>,
}

/// The log-probability of one token for each row `(hidden)`.
pub(super) fn logprobs(
    head: &Projection,
    rows: &[f32],
    tokens: &[u32],
    with_gradient: bool,
) -> Result<Logprobs, Mismatch> {
    let (hidden, vocab) = (head.inputs(), head.outputs());
    let mut values = Vec::with_capacity(tokens.len());
    let mut gradient = vec![0.0; if with_gradient { rows.len() } else { 0 }];
    let mut room = vec![0.0; ROWS.min(tokens.len()) * vocab];
    let mut gradients = gradient.chunks_mut(ROWS * hidden);
    for (rows, tokens) in rows.chunks(ROWS * hidden).zip(tokens.chunks(ROWS)) {
        let logits = room.get_mut(..tokens.len() * vocab).ok_or(Mismatch)?;
        head.plain(rows, logits)?;
        let part: Option<Vec<f64>> = logits
            .par_chunks_mut(vocab)
            .zip(tokens)
            .map(|(logits, token)| {
                let sum = log_sum_exp(logits);
                let logprob = f64::from(*logits.get(*token as usize)?) - sum;
                if with_gradient {
                    // Probabilities, less 1 for the token: the gradient in the logits with its sign turned.
                    weights(logits, sum as f32, 1.0);
                    *logits.get_mut(*token as usize)? -= 1.0;
                }
                Some(logprob)
            })
            .collect();
        values.extend(part.ok_or(Mismatch)?);
        if let Some(gradient) = gradients.next() {
            head.plain_backward(logits, gradient)?;
            gradient.iter_mut().for_each(|value| *value = -*value);
        }
    }
    Ok(Logprobs { values, gradient })
}
