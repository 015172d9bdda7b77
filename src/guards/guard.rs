//! A guard model, asked in its dialect.

use async_trait::async_trait;

use super::{dialect::Dialect, mode::Mode};
use crate::{
    error::Result,
    model::{ChatModel, ChatRequest, FinishReason, Prompt, Sampling},
    record::{Assessment, Instruction, Lineage, Origin, Response},
    stage::Guard,
};

/// Asks a guard model in its dialect, at temperature 0, once for each response.
///
/// Where the dialect says at which token the verdict stands, the model is asked for the likeliest tokens in each place.
/// P(unsafe) is then the probability of the words for unsafe among the words for a verdict, and
/// [`p_other`](Assessment::p_other) is what they leave to anything else. If they have less than half of the
/// probability together, the answer is no verdict. A model without log-probabilities gives the written verdict alone.
///
/// An answer that was cut off or is not exactly a verdict is [`Unparsed`](crate::Safety::Unparsed). An error of the
/// model is an error.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::{guards::*, *};
///
/// # futures::executor::block_on(async {
/// let model = complete_fn(|_| async {
///     let model = Arc::new(ModelId::new("scripted"));
///     let answer = "Safety: Unsafe\nCategories: Unethical Acts\nRefusal: No";
///     Ok(Completion::new(answer, FinishReason::Stop, Usage::default(), model))
/// });
/// let guard = DialectGuard::new(Dialect::named("qwen3guard-gen")?, model);
/// let (x, y) = (Instruction::new("Can I learn it?"), Response::new("You never will."));
/// let assessment = guard.assess(&x, &y).await?;
/// assert_eq!(assessment.safety, Safety::Unsafe);
/// assert_eq!(assessment.categories, ["qwen3guard@1:unethical"]);
/// assert_eq!(assessment.p_refusal, Some(0.0));
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct DialectGuard<M> {
    dialect: Dialect,
    model: M,
    max_tokens: Option<usize>,
    top_logprobs: usize,
}

impl<M> DialectGuard<M> {
    /// Makes a guard that asks `model` in `dialect`.
    pub fn new(dialect: Dialect, model: M) -> Self {
        Self {
            dialect,
            model,
            max_tokens: None,
            top_logprobs: 20,
        }
    }

    /// Sets the policy, as [`Dialect::with_policy`] does.
    #[must_use]
    pub fn with_policy(mut self, policy: impl Into<String>) -> Self {
        self.dialect = self.dialect.with_policy(policy);
        self
    }

    /// Sets the greatest number of tokens that the model may write. An answer that is cut off there is no verdict. By
    /// default as many as the dialect says.
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// Sets how many of the likeliest tokens the model is asked for. 0 asks for none, and P(unsafe) stays unknown. By
    /// default 20, the most that servers give.
    #[must_use]
    pub fn with_top_logprobs(mut self, count: usize) -> Self {
        self.top_logprobs = count;
        self
    }

    /// The dialect.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }
}

impl<M: ChatModel> DialectGuard<M> {
    /// Assesses an instruction without a response.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the dialect assesses responses only or needs a policy, or an error of
    /// the model.
    pub async fn assess_instruction(&self, instruction: &Instruction) -> Result<Assessment> {
        let mode = self.dialect.instruction_mode()?;
        let prompt = self.dialect.render_instruction(instruction.text())?;
        self.ask(mode, prompt, instruction.lineage()).await
    }

    async fn ask(&self, mode: &Mode, prompt: Prompt, lineage: &Lineage) -> Result<Assessment> {
        let seed = lineage.seed("guard");
        let mut request = ChatRequest::new(prompt)
            .with_sampling(Sampling {
                seed,
                ..Sampling::default()
            })
            .with_max_tokens(self.max_tokens.unwrap_or(mode.max_tokens));
        request.stop = mode.stop.clone();
        if mode.decisive.is_some() && self.top_logprobs > 0 {
            request = request.with_top_logprobs(self.top_logprobs);
        }
        let completion = self.model.complete(&request).await?;
        let assessment = mode.assess(&completion, self.dialect.categories());
        Ok(assessment.with_origin(Origin {
            method: format!("guard/{}", self.dialect.id()),
            model: Some(completion.model),
            prompt_hash: Some(mode.template.hash().clone()),
            seed: Some(seed),
            attempts: 1,
            truncated: completion.finish_reason == FinishReason::Length,
            logprob: None,
            usage: completion.usage,
        }))
    }
}

#[async_trait]
impl<M: ChatModel> Guard for DialectGuard<M> {
    async fn assess(&self, instruction: &Instruction, response: &Response) -> Result<Assessment> {
        let prompt = self.dialect.render(instruction.text(), response.text())?;
        self.ask(&self.dialect.response, prompt, instruction.lineage())
            .await
    }
}
