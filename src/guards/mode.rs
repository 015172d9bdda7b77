//! One thing that a guard assesses, a response or an instruction: how it is asked, and how the answer is read.

use serde::Deserialize;

use super::{
    answer::{Finding, Shape},
    categories::Categories,
    decisive::{Masses, masses},
};
use crate::{
    error::{Error, Result},
    model::{Completion, FinishReason, Role},
    prompt::PromptTemplate,
    record::{Assessment, Safety},
};

/// A text in a file: one string, or one for each line.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Line(String),
    Lines(Vec<String>),
}

impl Text {
    pub(super) fn joined(&self) -> String {
        match self {
            Self::Line(line) => line.clone(),
            Self::Lines(lines) => lines.join("\n"),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    role: Role,
    content: Text,
}

/// As it stands in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModeFile {
    #[serde(default)]
    messages: Vec<Turn>,
    text: Option<Text>,
    answer: Shape,
    decisive: Option<String>,
    #[serde(default)]
    think: bool,
    max_tokens: usize,
    #[serde(default)]
    stop: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Mode {
    pub(super) template: PromptTemplate,
    pub(super) max_tokens: usize,
    pub(super) stop: Vec<String>,
    /// The text after which the verdict stands; without it there are no probabilities.
    pub(super) decisive: Option<String>,
    answer: Shape,
    /// Whether a thought in `<think>` may come first.
    think: bool,
}

impl Mode {
    /// An answer counts as one only if the words for a verdict have at least this probability together.
    const LEAST_MASS: f64 = 0.5;

    /// Checks what a file says. `field` is its place in the file.
    pub(super) fn new(
        file: ModeFile,
        field: &str,
        slots: &[&str],
        categories: Option<&Categories>,
    ) -> Result<Self> {
        let wrong = |reason: String| Error::config(field, reason);
        let template = match (file.messages.as_slice(), &file.text) {
            ([], Some(text)) => PromptTemplate::raw(&text.joined(), slots),
            ([_, ..], None) => {
                let turns = file.messages.iter();
                let turns: Vec<_> = turns
                    .map(|turn| (turn.role, turn.content.joined()))
                    .collect();
                PromptTemplate::chat(&turns, slots)
            }
            _ => return Err(wrong("give either `messages` or `text`".to_owned())),
        };
        let mut template = template.map_err(|error| wrong(error.to_string()))?;
        file.answer
            .check(categories.is_some())
            .map_err(|reason| wrong(format!("answer: {reason}")))?;
        if file.decisive.is_some() && file.answer.labels().is_none() {
            let reason = "decisive: this shape has no word for the verdict; leave it out";
            return Err(wrong(reason.to_owned()));
        }
        if file.max_tokens == 0 || file.stop.iter().any(String::is_empty) {
            let reason = "`max_tokens` must be at least 1, and no `stop` may be empty";
            return Err(wrong(reason.to_owned()));
        }
        if template.has_slot("categories") {
            let block = categories.ok_or_else(|| {
                wrong("`{{categories}}` needs a list: add `categories` to the file".to_owned())
            })?;
            template = template.with_value("categories", &block.block());
        }
        Ok(Self {
            template,
            max_tokens: file.max_tokens,
            stop: file.stop,
            decisive: file.decisive,
            answer: file.answer,
            think: file.think,
        })
    }

    /// Reads an answer that is complete.
    pub(super) fn read(&self, answer: &str, categories: Option<&Categories>) -> Assessment {
        let found = self
            .after_thought(answer)
            .and_then(|answer| self.answer.read(answer, categories));
        let Some(found) = found else {
            return Assessment::new(Safety::Unparsed).with_raw(answer);
        };
        let Finding {
            safety,
            categories,
            refusal,
            p_unsafe,
        } = found;
        let mut assessment = Assessment::new(safety)
            .with_categories(categories)
            .with_raw(answer);
        assessment.p_refusal = refusal.map(|refuses| if refuses { 1.0 } else { 0.0 });
        assessment.p_unsafe = p_unsafe;
        assessment
    }

    /// Reads what a model wrote.
    pub(super) fn assess(
        &self,
        completion: &Completion,
        categories: Option<&Categories>,
    ) -> Assessment {
        let unparsed = || Assessment::new(Safety::Unparsed).with_raw(&completion.text);
        if completion.finish_reason == FinishReason::Length {
            return unparsed();
        }
        let assessment = self.read(&completion.text, categories);
        if assessment.safety == Safety::Unparsed {
            return assessment;
        }
        match self.masses(completion) {
            Some(masses) if 1.0 - masses.p_other < Self::LEAST_MASS => unparsed(),
            Some(masses) => assessment
                .with_p_unsafe(masses.p_unsafe)
                .with_p_other(masses.p_other),
            None => assessment,
        }
    }

    fn masses(&self, completion: &Completion) -> Option<Masses> {
        let tokens = completion.logprobs.as_deref()?;
        masses(tokens, self.decisive.as_deref()?, self.answer.labels()?)
    }

    /// The answer without the thought that may come first; `None` if that does not end.
    fn after_thought<'a>(&self, answer: &'a str) -> Option<&'a str> {
        let answer = answer.trim();
        match answer.strip_prefix("<think>") {
            Some(thought) if self.think => {
                thought.split_once("</think>").map(|(_, rest)| rest.trim())
            }
            _ => Some(answer),
        }
    }
}
