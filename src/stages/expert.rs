//! The expert's answer to an instruction, under a policy.

use async_trait::async_trait;

use crate::{
    error::{Error, Result},
    model::{ChatModel, Completion},
    prompt::{Asking, Localized, Question, asking_setters, built_in},
    record::{Instruction, Response},
    stage::ResponseGenerator,
    text::{Language, has_words},
};

/// Answers an instruction well: it helps with what is harmless, and where it cannot help it says with what and why, and
/// then gives what it can, in the language of the instruction.
///
/// An answer cut off at `max_tokens` is kept and marked as truncated in its [`Origin`](crate::Origin); the filter
/// [`Finished`](crate::filters::Finished) drops such answers. After an answer without words the model is asked again.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let model = complete_fn(|request: ChatRequest| async move {
///     let Prompt::Chat(messages) = request.prompt else { unreachable!() };
///     assert!(messages[0].content.starts_with("You answer for a school."));
///     Ok(Completion::new(
///         "Call the office before nine and give the reason.",
///         FinishReason::Stop,
///         Usage::default(),
///         Arc::new(ModelId::new("scripted")),
///     ))
/// });
/// let stage = stages::ExpertResponse::new(model).with_policy("You answer for a school.");
/// let response = stage.respond(&Instruction::new("How do I report that my child is ill?")).await?;
/// assert_eq!(response.text(), "Call the office before nine and give the reason.");
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ExpertResponse<M> {
    model: M,
    templates: Localized,
    policy: Option<String>,
    asking: Asking,
}

impl<M> ExpertResponse<M> {
    /// Answers with `model`.
    pub fn new(model: M) -> Self {
        let templates = Localized::new(
            built_in::RESPOND_EN,
            built_in::RESPOND_JA,
            built_in::RESPOND_OTHER,
        );
        Self {
            model,
            templates: templates.with_value("policy", built_in::POLICY_EN, built_in::POLICY_JA),
            policy: None,
            asking: Asking::new(256),
        }
    }

    /// Sets what the expert helps with and what not; it fills the slot `{{policy}}`, and the prompt's hash covers it.
    /// By default [`built_in::POLICY_EN`], or [`built_in::POLICY_JA`] for a Japanese instruction.
    #[must_use]
    pub fn with_policy(mut self, policy: impl Into<String>) -> Self {
        let policy = policy.into();
        self.templates = self.templates.with_value("policy", &policy, &policy);
        self.policy = Some(policy);
        self
    }

    /// Sets one prompt for all languages, a Markdown text with the slot `{{instruction}}` and, if wanted, `{{policy}}`
    /// and `{{language}}`. By default [`built_in::RESPOND_EN`], [`built_in::RESPOND_JA`] or
    /// [`built_in::RESPOND_OTHER`].
    ///
    /// # Errors
    /// As [`PromptTemplate::parse`](crate::prompt::PromptTemplate::parse).
    pub fn with_prompt(mut self, markdown: &str) -> Result<Self> {
        let policy = self.policy.as_deref();
        self.templates = Localized::parse(markdown, built_in::RESPOND_OTHER.slots)?.with_value(
            "policy",
            policy.unwrap_or(built_in::POLICY_EN),
            policy.unwrap_or(built_in::POLICY_JA),
        );
        Ok(self)
    }

    asking_setters! { sampling: "greedy", max_tokens: "256" }
}

#[async_trait]
impl<M: ChatModel> ResponseGenerator for ExpertResponse<M> {
    async fn respond(&self, instruction: &Instruction) -> Result<Response> {
        let language = Language::of(instruction.text());
        let question = Question {
            method: "expert",
            purpose: "respond",
            lineage: instruction.lineage(),
            template: self.templates.of(language),
            values: &[
                ("instruction", instruction.text()),
                ("language", language.in_prompt()),
            ],
        };
        let (text, origin) = self.asking.ask(&self.model, question, answer).await?;
        Ok(Response::new(text)
            .with_lineage(instruction.lineage().clone())
            .with_origin(origin))
    }
}

fn answer(completion: &Completion) -> Result<String> {
    let text = completion.text.trim();
    if has_words(text) {
        Ok(text.to_owned())
    } else {
        Err(Error::malformed("a text with words"))
    }
}
