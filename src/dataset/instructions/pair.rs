//! A pair, and the choice of pairs that are not trained on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::{Lineage, Redacted};

/// An instruction and the response to it, to train a model with.
///
/// ```
/// use safer_instruct::dataset::InstructionPair;
///
/// let pair = InstructionPair::new("What is the capital of Japan?", "Tokyo.");
/// assert_eq!(
///     serde_json::to_string(&pair)?,
///     r#"{"instruction":"What is the capital of Japan?","response":"Tokyo."}"#
/// );
/// assert!(!format!("{pair:?}").contains("Tokyo"), "Debug hides the texts");
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionPair {
    /// What a person asks for.
    pub instruction: String,
    /// The answer.
    pub response: String,
}

impl InstructionPair {
    /// Makes a pair of two texts.
    pub fn new(instruction: impl Into<String>, response: impl Into<String>) -> Self {
        Self {
            instruction: instruction.into(),
            response: response.into(),
        }
    }
}

impl fmt::Debug for InstructionPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstructionPair")
            .field("instruction", &Redacted(&self.instruction))
            .field("response", &Redacted(&self.response))
            .finish()
    }
}

/// Divides pairs into those to train on and `held_out` others, to measure on: `(train, held_out)`, each in an order
/// drawn by `seed`.
///
/// The order is that of [`Lineage::seed`] for the purpose `held out` with the instruction (or prompt) as id. So it
/// depends on the texts and the seed alone, not on the order of the file, and a pair that is added changes few places.
/// Pairs with the same instruction stay on one side: a few more than `held_out` are held out if the last instruction
/// has several responses. With fewer pairs than `held_out`, there is nothing to train on.
///
/// ```
/// use safer_instruct::dataset::{InstructionPair, hold_out};
///
/// let pairs: Vec<_> = (0..10).map(|n| InstructionPair::new(format!("Count to {n}."), "…")).collect();
/// let reversed = pairs.iter().rev().cloned().collect();
/// let (train, held_out) = hold_out(pairs, 2, 0);
/// assert_eq!((train.len(), held_out.len()), (8, 2));
/// assert_eq!(hold_out(reversed, 2, 0), (train, held_out));
/// ```
#[must_use]
pub fn hold_out<T: HoldOut>(pairs: Vec<T>, held_out: usize, seed: u64) -> (Vec<T>, Vec<T>) {
    let mut drawn: Vec<(u64, T)> = pairs
        .into_iter()
        .map(|pair| {
            let lineage = Lineage::new(pair.asks(), 0, seed);
            (lineage.seed("held out"), pair)
        })
        .collect();
    drawn.sort_by(|(a, left), (b, right)| {
        (a, left.asks(), left.answers()).cmp(&(b, right.asks(), right.answers()))
    });
    let mut train: Vec<T> = Vec::with_capacity(drawn.len());
    let mut held: Vec<T> = Vec::new();
    for (_, pair) in drawn {
        let last = held.last().map(HoldOut::asks);
        if held.len() < held_out || last == Some(pair.asks()) {
            held.push(pair);
        } else {
            train.push(pair);
        }
    }
    (train, held)
}

/// Pairs that [`hold_out`] divides.
pub trait HoldOut {
    /// What is asked: pairs with the same stay together.
    fn asks(&self) -> &str;

    /// The answers, which order pairs that ask the same.
    fn answers(&self) -> [&str; 2];
}

impl HoldOut for InstructionPair {
    fn asks(&self) -> &str {
        &self.instruction
    }

    fn answers(&self) -> [&str; 2] {
        [&self.response, ""]
    }
}
