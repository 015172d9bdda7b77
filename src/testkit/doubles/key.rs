//! Which question is asked, how often, and a number drawn from it: schedules that do not depend on scheduling.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use crate::{
    model::{ChatRequest, Message, Prompt, ScoreRequest},
    record::{Instruction, Response, SourceText},
};

/// Hashes the parts with their lengths, so that no two lists of parts are the same bytes.
pub(super) fn hash<'a>(seed: u64, parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A number in (0, 1], the same for the same seed, key and turn.
pub(super) fn uniform(seed: u64, key: u64, turn: u32) -> f64 {
    let bits = hash(seed, [format!("{key}/{turn}").as_str()]) >> 11;
    (bits + 1) as f64 / (1_u64 << 53) as f64
}

/// Counts how often each key was seen.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<u64, u32>>);

impl Turns {
    /// How often `key` was seen before.
    pub(super) fn next(&self, key: u64) -> u32 {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(key).or_default();
        *turn += 1;
        *turn - 1
    }
}

/// A question that can be recognised when it is asked again.
pub(super) trait Key {
    fn key(&self) -> u64;
}

impl Key for Prompt {
    fn key(&self) -> u64 {
        let (kind, messages) = match self {
            Self::Raw(text) => return hash(0, [text.as_str()]),
            Self::Chat(messages) => (1, messages),
            Self::Unfinished(messages) => (2, messages),
        };
        let parts = messages
            .iter()
            .flat_map(|Message { role, content }| [role.as_str(), content]);
        hash(kind, parts)
    }
}

impl Key for ChatRequest {
    fn key(&self) -> u64 {
        hash(
            self.sampling.seed,
            [format!("{}/{}", self.prompt.key(), self.max_tokens).as_str()],
        )
    }
}

impl Key for ScoreRequest {
    fn key(&self) -> u64 {
        hash(
            self.prompt.key(),
            self.continuations.iter().map(String::as_str),
        )
    }
}

impl Key for SourceText {
    fn key(&self) -> u64 {
        hash(0, [self.lineage().to_string().as_str(), self.text()])
    }
}

impl Key for Instruction {
    fn key(&self) -> u64 {
        hash(0, [self.lineage().to_string().as_str(), self.text()])
    }
}

impl Key for (&Instruction, &Response, &Response) {
    fn key(&self) -> u64 {
        hash(self.0.key(), [self.1.text(), self.2.text()])
    }
}

/// Implements the traits of models and stages for a decorator with a field `inner` and a method
/// `async fn before(&self, key: u64) -> Result<()>`.
macro_rules! decorate {
    ($name:ident) => {
        #[async_trait]
        impl<M: ChatModel> ChatModel for $name<M> {
            async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
                self.before(request.key()).await?;
                self.inner.complete(request).await
            }
        }

        #[async_trait]
        impl<M: ScoringModel> ScoringModel for $name<M> {
            async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
                self.before(request.key()).await?;
                self.inner.score(request).await
            }
        }

        #[async_trait]
        impl<M: InstructionGenerator> InstructionGenerator for $name<M> {
            async fn induce(&self, source: &SourceText) -> Result<Instruction> {
                self.before(source.key()).await?;
                self.inner.induce(source).await
            }
        }

        #[async_trait]
        impl<M: ResponseGenerator> ResponseGenerator for $name<M> {
            async fn respond(&self, instruction: &Instruction) -> Result<Response> {
                self.before(instruction.key()).await?;
                self.inner.respond(instruction).await
            }
        }

        #[async_trait]
        impl<M: PreferenceJudge> PreferenceJudge for $name<M> {
            async fn judge(
                &self,
                instruction: &Instruction,
                first: &Response,
                second: &Response,
            ) -> Result<Judgement> {
                self.before((instruction, first, second).key()).await?;
                self.inner.judge(instruction, first, second).await
            }
        }
    };
}
pub(super) use decorate;
