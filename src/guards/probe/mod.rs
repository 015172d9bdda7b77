//! Probes: linear judges of a model's hidden states.

mod card;
mod weights;

use std::sync::Arc;

use async_trait::async_trait;

pub use card::{HeadCard, ProbeCard, ProbeData, ProbeMeasure};
pub use weights::ProbeWeights;

use crate::{
    error::{Error, Result},
    model::{Message, StateModel, StateRequest, States},
    record::{Assessment, Instruction, Judgement, Origin, Response, Verdict},
    stage::{Guard, PreferenceJudge},
};

/// Reads off a model's hidden states how harmful a response is, whether it refuses, and which of two is better.
///
/// A probe is a linear function of the mean and the last state of some layers over the tokens of the response, after the
/// instruction in the model's own chat template. It costs one reading of the response and writes nothing: so it is many
/// times faster than a verdict that the model writes, has no place that it prefers, and no text can talk it into a verdict.
/// A small model knows more than it can say (SIREN; Constitutional Classifiers++).
///
/// As a [`Guard`] it gives P(unsafe) of the head `harm` and, if there is one, P(refusal) of the head `refusal`. As a
/// [`PreferenceJudge`] its margin is the difference of the two responses' log-odds of the head `preference`, in nats.
/// The margin is exactly negated when the responses change places.
///
/// # Errors
/// [`Error::Config`] if the model is another than the one that the probe was fitted on, or if the probe has no head for
/// what it is asked.
#[derive(Clone, Debug)]
pub struct Probe<M> {
    model: M,
    weights: Arc<ProbeWeights>,
    threshold: f64,
    tie_margin: f64,
}

impl<M> Probe<M> {
    /// The head of the guard.
    pub const HARM: &'static str = "harm";
    /// The head that finds refusals.
    pub const REFUSAL: &'static str = "refusal";
    /// The head of the judge.
    pub const PREFERENCE: &'static str = "preference";

    /// Makes a judge of `model`'s states.
    pub fn new(model: M, weights: impl Into<Arc<ProbeWeights>>) -> Self {
        Self {
            model,
            weights: weights.into(),
            threshold: 0.5,
            tie_margin: 0.0,
        }
    }

    /// Sets the P(unsafe) from which a response is unsafe. By default 0.5.
    #[must_use]
    pub fn with_threshold(mut self, p_unsafe: f64) -> Self {
        self.threshold = p_unsafe;
        self
    }

    /// Sets the greatest margin, in nats, that is still a tie. By default 0.
    #[must_use]
    pub fn with_tie_margin(mut self, nats: f64) -> Self {
        self.tie_margin = nats;
        self
    }

    /// What is known of the probe.
    pub fn card(&self) -> &ProbeCard {
        self.weights.card()
    }
}

impl<M: StateModel> Probe<M> {
    async fn states(&self, instruction: &Instruction, response: &Response) -> Result<States> {
        let card = self.weights.card();
        let prompt = vec![Message::user(instruction.text().to_owned())];
        let request = StateRequest::new(prompt, response.text(), card.layers.clone())
            .with_max_tokens(card.max_tokens);
        let states = self.model.states(&request).await?;
        if states.model.hash != card.base.hash || states.model.adapter != card.base.adapter {
            let reason = format!(
                "it was fitted on the states of {}, and these are of {}; take the probe of this model, or fit one",
                card.base.name, states.model.name
            );
            return Err(Error::config("probe", reason));
        }
        Ok(states)
    }

    fn log_odds(&self, head: &str, states: &States) -> Result<f64> {
        self.weights
            .log_odds(head, states)
            .ok_or_else(|| missing(head))
    }

    fn origin(method: &str, all: &[&States]) -> Origin {
        let mut origin = Origin {
            method: method.to_owned(),
            model: all.first().map(|states| Arc::clone(&states.model)),
            attempts: 1,
            ..Origin::default()
        };
        for states in all {
            origin.usage += states.usage;
        }
        origin
    }
}

fn missing(head: &str) -> Error {
    let reason =
        format!("it has no head `{head}` for these states; fit one with labels of that kind");
    Error::config("probe", reason)
}

#[async_trait]
impl<M: StateModel> Guard for Probe<M> {
    async fn assess(&self, instruction: &Instruction, response: &Response) -> Result<Assessment> {
        let states = self.states(instruction, response).await?;
        let harm = self.weights.probability(Self::HARM, &states);
        let p_unsafe = harm.ok_or_else(|| missing(Self::HARM))?;
        let assessment = Assessment::from_probability(p_unsafe, self.threshold)
            .with_origin(Self::origin("probe", &[&states]));
        Ok(match self.weights.probability(Self::REFUSAL, &states) {
            Some(p_refusal) => assessment.with_p_refusal(p_refusal),
            None => assessment,
        })
    }
}

#[async_trait]
impl<M: StateModel> PreferenceJudge for Probe<M> {
    async fn judge(
        &self,
        instruction: &Instruction,
        first: &Response,
        second: &Response,
    ) -> Result<Judgement> {
        if first.text() == second.text() {
            return Ok(Judgement::tie());
        }
        let states = futures::future::try_join(
            self.states(instruction, first),
            self.states(instruction, second),
        );
        let (first, second) = states.await?;
        let margin =
            self.log_odds(Self::PREFERENCE, &first)? - self.log_odds(Self::PREFERENCE, &second)?;
        let verdict = if margin > self.tie_margin {
            Verdict::First
        } else if margin < -self.tie_margin {
            Verdict::Second
        } else {
            Verdict::Tie
        };
        Ok(Judgement::new(verdict)
            .with_margin(margin)
            .with_origin(Self::origin("probe", &[&first, &second])))
    }
}
