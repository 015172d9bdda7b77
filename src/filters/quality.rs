//! The filter on instructions that a model finds unclear, or not answered by their source text.

use async_trait::async_trait;

use crate::{
    error::{Error, Result},
    model::{ScoreRequest, ScoringModel},
    outcome::{Decision, Reason},
    prompt::{PromptTemplate, built_in, fence},
    record::Draft,
    stage::Filter,
};

/// Drops instructions that a scoring model finds unclear, or not answered by the source text. Reason: `low_quality`,
/// with the probability.
///
/// This is the paper's filter on instructions. The probability is the softmax over the two labels `yes` and `no` after
/// the question.
///
/// # Errors
/// [`Error::Malformed`] if the model does not give one number for each label.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let model = score_fn(|request: ScoreRequest| async move {
///     assert_eq!(request.continuations, ["yes", "no"]);
///     let label = |p: f64| Continuation { logprob: p.ln(), tokens: 1 };
///     let model = Arc::new(ModelId::new("scripted"));
///     Ok(Scores { continuations: vec![label(0.1), label(0.3)], usage: Usage::default(), model })
/// });
/// let filter = filters::ModelQuality::new(model);
/// let draft = Draft::new(SourceText::new("a", "Twice.")).with_instruction(Instruction::new("Hm?"));
/// let Decision::Drop(reason) = filter.assess(&draft).await? else { unreachable!() };
/// assert_eq!(reason.to_string(), "low_quality (P(yes) is 0.25, wanted 0.50)");
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ModelQuality<M> {
    model: M,
    template: PromptTemplate,
    labels: [String; 2],
    threshold: f64,
}

impl<M> ModelQuality<M> {
    /// Makes a filter that asks `model`.
    pub fn new(model: M) -> Self {
        Self {
            model,
            template: built_in::QUALITY.template(),
            labels: ["yes".to_owned(), "no".to_owned()],
            threshold: 0.5,
        }
    }

    /// Sets the prompt: a Markdown text with the slots `{{instruction}}`, `{{source}}` and, optionally, `{{fence}}`. By
    /// default [`built_in::QUALITY`].
    ///
    /// # Errors
    /// As [`PromptTemplate::parse`].
    pub fn with_prompt(mut self, markdown: &str) -> Result<Self> {
        self.template = PromptTemplate::parse(markdown, built_in::QUALITY.slots)?;
        Ok(self)
    }

    /// Sets the labels for a good and for a bad instruction. By default `yes` and `no`.
    #[must_use]
    pub fn with_labels(mut self, good: impl Into<String>, bad: impl Into<String>) -> Self {
        self.labels = [good.into(), bad.into()];
        self
    }

    /// Sets the smallest probability that is kept. By default 0.5.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }
}

#[async_trait]
impl<M: ScoringModel> Filter<Draft> for ModelQuality<M> {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        let (instruction, source) = (draft.instruction()?.text(), draft.source().text());
        let prompt = self.template.render(&[
            ("instruction", instruction),
            ("source", source),
            ("fence", &fence(&[instruction, source])),
        ])?;
        let request = ScoreRequest::new(prompt, self.labels.iter());
        let scores = self.model.score(&request).await?;
        let odds = match scores.continuations.as_slice() {
            [yes, no] => yes.logprob - no.logprob,
            _ => f64::NAN,
        };
        if odds.is_nan() {
            return Err(Error::malformed("a log-probability for each of two labels"));
        }
        let probability = 1.0 / (1.0 + (-odds).exp());
        if probability >= self.threshold {
            return Ok(Decision::Keep);
        }
        let detail = format!("P(yes) is {probability:.2}, wanted {:.2}", self.threshold);
        Ok(Decision::Drop(
            Reason::new("low_quality").with_detail(detail),
        ))
    }
}
