//! The likelihood judge: compares the probabilities of two labels.

use async_trait::async_trait;

use crate::{
    error::{Error, Result},
    model::{ScoreRequest, Scores, ScoringModel},
    prompt::{PromptTemplate, built_in, fence},
    record::{Instruction, Judgement, Origin, Response, Verdict},
    stage::PreferenceJudge,
};

/// Asks a scoring model for the probabilities of the labels `A` and `B` after the question which response is better, in
/// both orders.
///
/// As in RLAIF (arXiv 2309.00267) both orders are averaged, but log-odds instead of probabilities: the margin is ½ (ln
/// P(A)/P(B) | first, second − ln P(A)/P(B) | second, first) in nats. Position bias adds the same log-odds in both
/// orders, so it cancels. A mean of probabilities would hide the preference behind a strong bias, as small models have
/// it.
///
/// The margin is exactly negated when the responses change places. If the model prefers the same label in both orders,
/// the judgement is marked as flipped; the verdict still follows from the margin. Identical responses tie, and the
/// model is not asked.
///
/// # Errors
/// [`Error::Malformed`] if the model does not give one number for each label. There is no seed, so the model is not
/// asked again.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let model = score_fn(|request: ScoreRequest| async move {
///     assert_eq!(request.continuations, ["A", "B"]);
///     let Prompt::Chat(messages) = &request.prompt else { unreachable!() };
///     let kind_first = messages[0].content.find("Of course!") < messages[0].content.find("Go away.");
///     let label = |logprob| Continuation { logprob, tokens: 1 };
///     let continuations = if kind_first { vec![label(-0.1), label(-2.3)] } else { vec![label(-2.3), label(-0.1)] };
///     Ok(Scores { continuations, usage: Usage::default(), model: Arc::new(ModelId::new("scripted")) })
/// });
/// let judge = judges::LikelihoodJudge::new(model);
/// let (x, a, b) = (Instruction::new("Help me."), Response::new("Go away."), Response::new("Of course!"));
/// let judgement = judge.judge(&x, &a, &b).await?;
/// assert_eq!(judgement.verdict(), Verdict::Second);
/// assert!((judgement.margin().unwrap() + 2.2).abs() < 1e-9);
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct LikelihoodJudge<M> {
    model: M,
    template: PromptTemplate,
    policy: String,
    labels: [String; 2],
    tie_margin: f64,
}

impl<M> LikelihoodJudge<M> {
    /// The tie margin by default: 0.2 nats, which are odds of 1.22 to 1.
    pub const DEFAULT_TIE_MARGIN: f64 = 0.2;

    /// Makes a judge that asks `model`.
    pub fn new(model: M) -> Self {
        Self {
            model,
            template: built_in::JUDGE_LIKELIHOOD
                .template()
                .with_value("policy", built_in::POLICY_JUDGE),
            policy: built_in::POLICY_JUDGE.to_owned(),
            labels: ["A".to_owned(), "B".to_owned()],
            tie_margin: Self::DEFAULT_TIE_MARGIN,
        }
    }

    /// Sets the policy: the text that says what a safe response is. It fills the slot `{{policy}}`, and the prompt's
    /// hash covers it. By default [`built_in::POLICY_JUDGE`].
    #[must_use]
    pub fn with_policy(mut self, policy: impl Into<String>) -> Self {
        self.policy = policy.into();
        self.template = self.template.with_value("policy", &self.policy);
        self
    }

    /// Sets the prompt: a Markdown text with the slots `{{instruction}}`, `{{first}}`, `{{second}}` and, optionally,
    /// `{{policy}}` and `{{fence}}`. By default [`built_in::JUDGE_LIKELIHOOD`].
    ///
    /// # Errors
    /// As [`PromptTemplate::parse`].
    pub fn with_prompt(mut self, markdown: &str) -> Result<Self> {
        self.template = PromptTemplate::parse(markdown, built_in::JUDGE_LIKELIHOOD.slots)?
            .with_value("policy", &self.policy);
        Ok(self)
    }

    /// Sets the labels of the first and of the second response. By default `A` and `B`.
    #[must_use]
    pub fn with_labels(mut self, first: impl Into<String>, second: impl Into<String>) -> Self {
        self.labels = [first.into(), second.into()];
        self
    }

    /// Sets the greatest margin, in nats, that is still a tie. By default
    /// [`DEFAULT_TIE_MARGIN`](Self::DEFAULT_TIE_MARGIN).
    #[must_use]
    pub fn with_tie_margin(mut self, nats: f64) -> Self {
        self.tie_margin = nats;
        self
    }
}

impl<M: ScoringModel> LikelihoodJudge<M> {
    /// The log-odds of the first label, in nats, in one order.
    async fn preference(
        &self,
        instruction: &str,
        first: &str,
        second: &str,
    ) -> Result<(f64, Scores)> {
        let prompt = self.template.render(&[
            ("instruction", instruction),
            ("first", first),
            ("second", second),
            ("fence", &fence(&[instruction, first, second])),
        ])?;
        let request = ScoreRequest::new(prompt, self.labels.iter());
        let scores = self.model.score(&request).await?;
        let nats = match scores.continuations.as_slice() {
            [a, b] => a.logprob - b.logprob,
            _ => f64::NAN,
        };
        if nats.is_nan() {
            return Err(Error::malformed("a log-probability for each of two labels"));
        }
        Ok((nats, scores))
    }
}

#[async_trait]
impl<M: ScoringModel> PreferenceJudge for LikelihoodJudge<M> {
    async fn judge(
        &self,
        instruction: &Instruction,
        first: &Response,
        second: &Response,
    ) -> Result<Judgement> {
        if first.text() == second.text() {
            return Ok(Judgement::tie());
        }
        let (x, a, b) = (instruction.text(), first.text(), second.text());
        let (forward, backward) =
            futures::join!(self.preference(x, a, b), self.preference(x, b, a));
        let ((forward, scores), (backward, other)) = (forward?, backward?);

        let margin = margin(forward, backward);
        let verdict = if margin.abs() <= self.tie_margin {
            Verdict::Tie
        } else if margin > 0.0 {
            Verdict::First
        } else {
            Verdict::Second
        };
        let mut usage = scores.usage;
        usage += other.usage;
        Ok(Judgement::new(verdict)
            .with_margin(margin)
            .with_flipped(forward * backward > 0.0)
            .with_origin(Origin {
                method: "likelihood".to_owned(),
                model: Some(scores.model),
                prompt_hash: Some(self.template.hash().clone()),
                attempts: 1,
                usage,
                ..Origin::default()
            }))
    }
}

/// The mean log-odds for the response that comes first in `forward`. Infinite preferences count as 700 nats, to stay
/// finite.
fn margin(forward: f64, backward: f64) -> f64 {
    let (forward, backward) = (forward.clamp(-700.0, 700.0), backward.clamp(-700.0, 700.0));
    (forward - backward) / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::margin;

    #[test]
    fn a_pure_favour_for_a_place_cancels() {
        assert_eq!(margin(3.0, 3.0), 0.0);
        assert!((margin(3.0, -3.0) - 3.0).abs() < 1e-12);
        assert_eq!(
            margin(3.0 + 1.0, 3.0 - 1.0),
            1.0,
            "a favour of 3 hides a preference of 1"
        );
        assert!(margin(f64::INFINITY, f64::NEG_INFINITY).is_finite());
    }

    proptest! {
        #[test]
        fn changing_places_negates_exactly(a in -800.0..800.0f64, b in -800.0..800.0f64) {
            prop_assert_eq!(margin(a, b), -margin(b, a));
        }
    }
}
