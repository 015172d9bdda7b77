//! Induction by a model: with the paper's template, or by example.

use async_trait::async_trait;

use super::clean::{self, Cleaned};
use crate::{
    error::Result,
    model::{ChatModel, Completion},
    prompt::{Asking, Localized, PromptTemplate, Question, asking_setters, built_in},
    record::{Instruction, SourceText},
    stage::InstructionGenerator,
    text::Language,
};

/// The setter that the stages of this file share.
macro_rules! likelihood_setter {
    () => {
        /// Asks the model how likely the instruction is, for [`Origin::logprob`](crate::Origin::logprob);
        /// [`BestOf`](super::BestOf) then takes it into account. By default off, because not every server tells it.
        #[must_use]
        pub fn with_logprob(mut self, logprob: bool) -> Self {
            self.asking.logprob = logprob;
            self
        }
    };
}

/// Induces with a model that was tuned in reverse: it goes on from the source text to the instruction.
///
/// The template is the one of SAFER-INSTRUCT (arXiv 2311.08685), as its repository gives it, sent as a raw prompt. The
/// instruction is the first line of the continuation with words.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let model = complete_fn(|request: ChatRequest| async move {
///     let Prompt::Raw(prompt) = request.prompt else { unreachable!() };
///     assert!(prompt.ends_with("### response:\nTwice a day.\n\n### Instruction:"));
///     Ok(Completion::new(
///         " How often should I brush my teeth?\n",
///         FinishReason::Stop,
///         Usage::default(),
///         Arc::new(ModelId::new("scripted")),
///     ))
/// });
/// let stage = stages::ReversedInduction::new(model);
/// let instruction = stage.induce(&SourceText::new("a", "Twice a day.")).await?;
/// assert_eq!(instruction.text(), "How often should I brush my teeth?");
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ReversedInduction<M> {
    model: M,
    template: PromptTemplate,
    asking: Asking,
    all_lines: bool,
}

impl<M> ReversedInduction<M> {
    /// Induces with `model`.
    pub fn new(model: M) -> Self {
        let mut asking = Asking::new(64);
        asking.stop = vec!["\n###".to_owned()];
        Self {
            model,
            template: built_in::INDUCE_REVERSED.template(),
            asking,
            all_lines: false,
        }
    }

    /// Sets the prompt, a Markdown text with the slot `{{source}}`. By default [`built_in::INDUCE_REVERSED`].
    ///
    /// # Errors
    /// As [`PromptTemplate::parse`].
    pub fn with_prompt(mut self, markdown: &str) -> Result<Self> {
        self.template = PromptTemplate::parse(markdown, built_in::INDUCE_REVERSED.slots)?;
        Ok(self)
    }

    /// Sets the strings that end the continuation. By default a line that begins with `###`.
    #[must_use]
    pub fn with_stop(mut self, stop: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.asking.stop = stop.into_iter().map(Into::into).collect();
        self
    }

    /// Takes all lines of the continuation as the instruction. By default only the first.
    #[must_use]
    pub fn with_all_lines(mut self, all_lines: bool) -> Self {
        self.all_lines = all_lines;
        self
    }

    asking_setters! { sampling: "greedy", max_tokens: "64" }
    likelihood_setter! {}
}

#[async_trait]
impl<M: ChatModel> InstructionGenerator for ReversedInduction<M> {
    async fn induce(&self, source: &SourceText) -> Result<Instruction> {
        let question = Question {
            method: "reversed",
            purpose: "induce",
            lineage: source.lineage(),
            template: &self.template,
            values: &[("source", source.text())],
        };
        let read = if self.all_lines {
            clean::whole
        } else {
            clean::first_line
        };
        induced(&self.model, &self.asking, question, read).await
    }
}

/// Induces with an ordinary instruct model, by a request with examples.
///
/// The instruction comes back in the language of the source text: there are prompts in English and in Japanese, and
/// one that names any other language. The Japanese one asks for a question. If the answer states something instead, in
/// polite form (です, ます), the particle か makes it a question; what stands behind a question is cut off. Measured on a model of 135M parameters this is much weaker than
/// [`ReversedInduction`] on a model tuned for it; a strong model does well.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let model = complete_fn(|_| async {
///     Ok(Completion::new(
///         "依頼：「歯はいつ磨くべきですか。」",
///         FinishReason::Stop,
///         Usage::default(),
///         Arc::new(ModelId::new("scripted")),
///     ))
/// });
/// let stage = stages::ChatInduction::new(model).with_max_tokens(96);
/// let instruction = stage.induce(&SourceText::new("a", "朝と晩の二回です。")).await?;
/// assert_eq!(instruction.text(), "歯はいつ磨くべきですか。");
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ChatInduction<M> {
    model: M,
    templates: Localized,
    /// Whether the Japanese prompt is the one of this crate, which asks for a question.
    own_prompt: bool,
    asking: Asking,
}

impl<M> ChatInduction<M> {
    /// Induces with `model`.
    pub fn new(model: M) -> Self {
        Self {
            model,
            templates: Localized::new(
                built_in::INDUCE_EN,
                built_in::INDUCE_JA,
                built_in::INDUCE_OTHER,
            ),
            own_prompt: true,
            asking: Asking::new(64),
        }
    }

    /// Sets one prompt for all languages, a Markdown text with the slot `{{source}}` and, if wanted, `{{language}}`
    /// (such as `Japanese`, or `the language of the text` where it is not known). By default [`built_in::INDUCE_EN`],
    /// [`built_in::INDUCE_JA`] or [`built_in::INDUCE_OTHER`].
    ///
    /// # Errors
    /// As [`PromptTemplate::parse`].
    pub fn with_prompt(mut self, markdown: &str) -> Result<Self> {
        self.templates = Localized::parse(markdown, built_in::INDUCE_OTHER.slots)?;
        self.own_prompt = false;
        Ok(self)
    }

    asking_setters! { sampling: "greedy", max_tokens: "64" }
    likelihood_setter! {}
}

#[async_trait]
impl<M: ChatModel> InstructionGenerator for ChatInduction<M> {
    async fn induce(&self, source: &SourceText) -> Result<Instruction> {
        let language = Language::of(source.text());
        let question = Question {
            method: "chat",
            purpose: "induce",
            lineage: source.lineage(),
            template: self.templates.of(language),
            values: &[
                ("source", source.text()),
                ("language", language.in_prompt()),
            ],
        };
        let asks_japanese = self.own_prompt && language.is_japanese();
        let read = |answer: &str| match asks_japanese {
            true => clean::japanese_line(answer, source.text()),
            false => clean::first_line(answer),
        };
        induced(&self.model, &self.asking, question, read).await
    }
}

/// Asks for an instruction. It counts as truncated only if the answer was cut off within it.
async fn induced<M: ChatModel>(
    model: &M,
    asking: &Asking,
    question: Question<'_>,
    read: impl Fn(&str) -> Result<Cleaned> + Send + Sync,
) -> Result<Instruction> {
    let lineage = question.lineage.clone();
    let read = |completion: &Completion| read(&completion.text);
    let (cleaned, mut origin) = asking.ask(model, question, read).await?;
    origin.truncated &= !cleaned.ended;
    Ok(Instruction::new(cleaned.text)
        .with_lineage(lineage)
        .with_origin(origin))
}
