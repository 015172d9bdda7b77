//! What a model is trained on.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::files::hex;

/// One example: a completion after its prompt, or two of them after the same prompt, the better one first.
///
/// [`Policy`](super::Policy) makes them of texts; from token ids they can be made directly.
#[derive(Clone, PartialEq, Eq)]
pub struct Example {
    pub(super) sequences: Vec<Tokens>,
}

/// A prompt and a completion.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    /// Tokens of the completion, which are at the end.
    pub(super) scored: usize,
}

impl Tokens {
    fn new(prompt: &[u32], completion: &[u32]) -> Self {
        Self {
            ids: [prompt, completion].concat(),
            scored: completion.len(),
        }
    }
}

impl Example {
    /// A completion that is to become likelier after its prompt. Neither may be empty.
    #[must_use]
    pub fn completion(prompt: &[u32], completion: &[u32]) -> Self {
        Self {
            sequences: vec![Tokens::new(prompt, completion)],
        }
    }

    /// A completion that is to be preferred to another. None may be empty.
    #[must_use]
    pub fn preference(prompt: &[u32], chosen: &[u32], rejected: &[u32]) -> Self {
        let sequences = [chosen, rejected].map(|completion| Tokens::new(prompt, completion));
        Self {
            sequences: sequences.into(),
        }
    }

    /// The prompt and the completion of each of its sequences, as token ids.
    pub fn sequences(&self) -> impl Iterator<Item = (&[u32], &[u32])> {
        let split = |tokens: &Tokens| tokens.ids.len().saturating_sub(tokens.scored);
        self.sequences
            .iter()
            .map(move |tokens| tokens.ids.split_at(split(tokens)))
    }

    /// Tokens of all its sequences.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(|tokens| tokens.ids.len()).sum()
    }

    /// Tokens of its longest sequence.
    #[must_use]
    pub fn longest(&self) -> usize {
        let lengths = self.sequences.iter().map(|tokens| tokens.ids.len());
        lengths.max().unwrap_or_default()
    }

    /// The highest id of its tokens.
    pub(super) fn highest(&self) -> Option<u32> {
        self.sequences
            .iter()
            .flat_map(|tokens| &tokens.ids)
            .copied()
            .max()
    }

    /// Whether every sequence has a prompt and a completion.
    pub(super) fn is_whole(&self) -> bool {
        let whole = |tokens: &Tokens| (1..tokens.ids.len()).contains(&tokens.scored);
        self.sequences.iter().all(whole)
    }
}

/// Shows no tokens, which would be a text.
impl fmt::Debug for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.sequences.iter().map(|tokens| tokens.ids.len());
        f.debug_struct("Example")
            .field("tokens", &lengths.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A hash of examples and their order, as `sha256:<hex>`.
pub(super) fn hash(examples: &[Example]) -> String {
    let mut hash = Sha256::new();
    for tokens in examples.iter().flat_map(|example| &example.sequences) {
        hash.update((tokens.ids.len() as u64).to_le_bytes());
        hash.update((tokens.scored as u64).to_le_bytes());
        for id in &tokens.ids {
            hash.update(id.to_le_bytes());
        }
    }
    named(hash)
}

/// A hash of numbers, as `sha256:<hex>`.
pub(super) fn hash_of(values: &[f32]) -> String {
    let mut hash = Sha256::new();
    for value in values {
        hash.update(value.to_le_bytes());
    }
    named(hash)
}

fn named(hash: Sha256) -> String {
    format!("sha256:{}", hex(hash.finalize()))
}
