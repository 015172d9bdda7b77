//! Instructions that have nothing to do with the source text.

use async_trait::async_trait;
use futures::future::try_join;

use crate::{
    error::{Error, Result},
    model::{Message, Prompt, ScoreRequest, ScoringModel},
    outcome::{Decision, Reason},
    record::Draft,
    stage::Filter,
};

/// Drops instructions that do not make the source text likelier. Reason: `unrelated`.
///
/// The gain is log P(y | x) − log P(y | x₀) per token, in nats: `y` is the source text as the model's answer, `x` the
/// instruction, and `x₀` a request without content, "Write a text.". It is the pointwise mutual information of text and
/// instruction, up to a constant. A text whose gain is not a number is dropped. Each text costs two requests to a model
/// that scores.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::{filters::Related, *};
///
/// # futures::executor::block_on(async {
/// let model = score_fn(|request: ScoreRequest| async move {
///     let Prompt::Chat(messages) = &request.prompt else { unreachable!() };
///     let fruit = messages[0].content.contains("fruit");
///     let score = Continuation { logprob: if fruit { -2.0 } else { -9.0 }, tokens: 2 };
///     let model = Arc::new(ModelId::new("scripted"));
///     Ok(Scores { continuations: vec![score], usage: Usage::default(), model })
/// });
/// let filter = Related::new(model);
/// let draft = |instruction: &str| {
///     Draft::new(SourceText::new("a", "A ripe pear.")).with_instruction(Instruction::new(instruction))
/// };
/// assert!(filter.assess(&draft("Name a fruit.")).await?.is_keep());
/// assert!(!filter.assess(&draft("Name a colour.")).await?.is_keep());
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Related<M> {
    model: M,
    min_gain: f64,
}

impl<M> Related<M> {
    /// The least gain by default, in nats per token.
    pub const DEFAULT_MIN_GAIN: f64 = 0.3;

    /// Asks `model` how likely the source text is.
    pub fn new(model: M) -> Self {
        Self {
            model,
            min_gain: Self::DEFAULT_MIN_GAIN,
        }
    }

    /// Sets the least gain that is kept, in nats per token. By default [`DEFAULT_MIN_GAIN`](Self::DEFAULT_MIN_GAIN).
    #[must_use]
    pub fn with_min_gain(mut self, nats: f64) -> Self {
        self.min_gain = nats;
        self
    }
}

impl<M: ScoringModel> Related<M> {
    /// log P(text | request) per token.
    async fn score(&self, request: &str, text: &str) -> Result<f64> {
        let prompt = Prompt::Chat(vec![Message::user(request.to_owned())]);
        let scores = self.model.score(&ScoreRequest::new(prompt, [text])).await?;
        match scores.continuations.as_slice() {
            [score] => Ok(score.per_token()),
            _ => Err(Error::malformed("one score for one continuation")),
        }
    }
}

#[async_trait]
impl<M: ScoringModel> Filter<Draft> for Related<M> {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        let (text, instruction) = (draft.source().text(), draft.instruction()?.text());
        let (with, without) = try_join(
            self.score(instruction, text),
            self.score("Write a text.", text),
        )
        .await?;
        let gain = with - without;
        if gain >= self.min_gain {
            return Ok(Decision::Keep);
        }
        let detail = format!(
            "{gain:.2} nats a token, wanted at least {:.2}",
            self.min_gain
        );
        Ok(Decision::Drop(Reason::new("unrelated").with_detail(detail)))
    }
}
