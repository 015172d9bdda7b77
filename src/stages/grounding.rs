//! Which pairs of instruction and response are worth training on.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    dataset::InstructionPair,
    error::{Error, Result},
    model::{Continuation, ScoreRequest, ScoringModel},
    prompt::built_in,
};

/// Keeps the pairs whose response decides their instruction.
///
/// A pair is kept if its response makes its instruction likelier, by so many nats a token, than the responses of other
/// pairs do on average: an estimate of their pointwise mutual information,
/// `log p(x | y) - mean over y' of log p(x | y')`, in the template of [`ReversedInduction`](super::ReversedInduction).
/// A pair for which that is small teaches a style of asking, not to read the response.
#[derive(Clone, Debug)]
pub struct Grounding<M> {
    model: Arc<M>,
    others: usize,
    least: f64,
    concurrency: usize,
}

impl<M: ScoringModel> Grounding<M> {
    /// Judged by `model`, beside 3 other responses; at least 0.3 nats a token.
    pub fn new(model: M) -> Self {
        Self {
            model: Arc::new(model),
            others: 3,
            least: 0.3,
            concurrency: 32,
        }
    }

    /// Sets how many other responses a pair is compared with, at least 1. By default 3.
    #[must_use]
    pub fn with_others(mut self, others: usize) -> Self {
        self.others = others.max(1);
        self
    }

    /// Sets how much likelier the instruction must become, in nats a token. By default 0.3.
    #[must_use]
    pub fn with_least(mut self, nats: f64) -> Self {
        self.least = nats;
        self
    }

    /// The pairs that are kept, in their order, and how many are not. The other responses of a pair are those that
    /// follow it, from the beginning again at the end.
    ///
    /// # Errors
    /// As the model; [`Error::Config`] if there are fewer pairs than other responses to compare with.
    pub async fn keep(&self, pairs: Vec<InstructionPair>) -> Result<(Vec<InstructionPair>, usize)> {
        if pairs.len() <= self.others {
            let reason = format!(
                "{} pairs cannot be compared with {} others each",
                pairs.len(),
                self.others
            );
            return Err(Error::config("others", reason));
        }
        let all = pairs.as_slice();
        let gains = stream::iter(0..all.len()).map(|at| self.gain(all, at));
        let gains: Vec<f64> = gains.buffered(self.concurrency).try_collect().await?;
        let count = pairs.len();
        let kept = pairs
            .into_iter()
            .zip(gains)
            .filter(|(_, gain)| *gain >= self.least);
        let kept: Vec<_> = kept.map(|(pair, _)| pair).collect();
        let dropped = count - kept.len();
        Ok((kept, dropped))
    }

    /// How much likelier the response of a pair makes its instruction than other responses do, in nats a token.
    async fn gain(&self, pairs: &[InstructionPair], at: usize) -> Result<f64> {
        let template = built_in::INDUCE_REVERSED.template();
        let circle = pairs.iter().cycle().skip(at).take(self.others + 1);
        let mut logprobs = Vec::with_capacity(self.others + 1);
        let Some(own) = pairs.get(at) else {
            return Ok(0.0);
        };
        let instruction = format!(" {}", own.instruction.trim());
        for pair in circle {
            let prompt = template.render(&[("source", pair.response.trim())])?;
            let request = ScoreRequest::new(prompt, [instruction.as_str()]);
            let scores = self.model.score(&request).await?;
            let mean = scores.continuations.first().map(Continuation::per_token);
            logprobs.push(mean.unwrap_or_default());
        }
        let (own, others) = logprobs.split_first().unwrap_or((&0.0, &[]));
        Ok(own - others.iter().sum::<f64>() / others.len().max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{
        model::{Prompt, Scores, score_fn},
        record::{ModelId, Usage},
    };

    #[test]
    fn only_pairs_that_belong_together_are_kept() {
        // The model finds an instruction likely if its response holds its last word.
        let model = score_fn(|request: ScoreRequest| async move {
            let Prompt::Raw(prompt) = &request.prompt else {
                panic!("the reversed template is a text");
            };
            let instruction = &request.continuations[0];
            assert!(prompt.ends_with("### Instruction:") && instruction.starts_with(' '));
            let word = instruction.rsplit(' ').next().unwrap();
            let logprob = if prompt.contains(word) { -4.0 } else { -8.0 };
            Ok(Scores {
                continuations: vec![Continuation { logprob, tokens: 4 }],
                usage: Usage::default(),
                model: Arc::new(ModelId::new("scripted")),
            })
        });
        let pairs: Vec<_> = [
            ("Say rain", "It will rain."),
            ("Say snow", "Anything goes."),
            ("Say wind", "The wind blows."),
            ("Say something", "rain snow wind something"),
        ]
        .map(|(instruction, response)| InstructionPair::new(instruction, response))
        .into();
        let keep = |others, least| {
            let grounding = Grounding::new(&model).with_others(others).with_least(least);
            let (kept, dropped) = block_on(grounding.keep(pairs.clone())).unwrap();
            assert_eq!(kept.len() + dropped, 4);
            kept.into_iter()
                .map(|pair| pair.instruction)
                .collect::<Vec<_>>()
        };
        // Beside its own, "rain" is in one of the three other responses: a gain of 1 - 1/3 nats a token.
        assert_eq!(keep(3, 0.6), ["Say rain", "Say wind", "Say something"]);
        assert_eq!(keep(3, 0.7), ["Say something"]);
        assert_eq!(keep(1, 0.1), ["Say rain", "Say something"]);
        let few = Grounding::new(&model).with_others(4);
        assert!(block_on(few.keep(pairs.clone())).is_err());
    }
}
