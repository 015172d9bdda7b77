//! Instructions that speak of the task of inducing instead of asking for something.

use std::collections::HashMap;

use async_trait::async_trait;

use super::phrases::{has, normal, sections};
use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::Draft,
    stage::Filter,
    text::is_unspaced,
};

/// How a statement ends, in normal form.
const STATEMENT_ENDS: &[char] = &['.', '!', ':', '"', ';'];

/// How a Japanese statement ends, in normal form, whatever mark follows.
const JAPANESE_ENDS: &[&str] = &[
    "です",
    "ます",
    "でした",
    "ました",
    "ません",
    "である",
    "だ",
    "ない",
    "ましょう",
    "でしょう",
    "んだ",
    "ですね",
    "ますね",
    "ですよ",
    "ますよ",
    "だね",
    "だよ",
    "から",
];

/// How Japanese advice ends that has the form of a question, in normal form: "why not …?".
const JAPANESE_ADVICE: &[&str] = &[
    "たらどうですか",
    "たらどうでしょうか",
    "てはどうですか",
    "てはいかがですか",
    "てはいかがでしょうか",
    "たらいかがですか",
    "てみましょうか",
];

/// How an item of a list begins.
const ITEM_MARKS: &[&str] = &["- ", "* ", "• ", "・"];

/// Drops instructions that speak of the task itself, and texts that are no instruction at all. Reason: `about_task`.
///
/// A model that was not tuned to induce often speaks of "the response" and "the instruction", or goes on with the
/// source text, or answers. Four rules recognise this, in English and in Japanese; the detail of the reason names the
/// rule:
///
/// | rule | what it recognises |
/// |---|---|
/// | `task` | phrases that speak of the text or of the instruction: "the response is …", 「この文章は…」 |
/// | `answer` | a beginning that answers or announces: "Yes, …", "Here is a response …", 「申し訳…」 |
/// | `statement` | a statement that asks for nothing, or advice: 「…たらどうですか」 |
/// | `alternatives` | an item of a list: "A) …", "- …" |
///
/// The phrases are in `about_task.txt`. Of instructions that people wrote it drops less than 1 in 100, see
/// `docs/measurements.md`.
///
/// ```
/// use safer_instruct::{Draft, Filter, Instruction, SourceText, filters::NotAboutTask};
///
/// # futures::executor::block_on(async {
/// let draft = |instruction: &str| {
///     Draft::new(SourceText::new("a", "Twice a day.")).with_instruction(Instruction::new(instruction))
/// };
/// let filter = NotAboutTask::new();
/// assert!(filter.assess(&draft("How often should I brush my teeth?")).await?.is_keep());
/// for instruction in [
///     "What is the instruction that the response is trying to complete?",
///     "The teeth are brushed in the morning and in the evening.",
///     "この文章は何を説明していますか。",
/// ] {
///     assert!(!filter.assess(&draft(instruction)).await?.is_keep());
/// }
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct NotAboutTask {
    task: Vec<String>,
    answer: Vec<String>,
    statement: Vec<String>,
    request: Vec<String>,
}

impl NotAboutTask {
    /// A filter with the phrases of this crate.
    #[must_use]
    pub fn new() -> Self {
        let mut sections: HashMap<_, _> = sections(include_str!("about_task.txt"));
        let mut phrases = |name| sections.remove(name).unwrap_or_default();
        Self {
            task: phrases("task"),
            answer: phrases("answer"),
            statement: phrases("statement"),
            request: phrases("request"),
        }
    }

    /// Adds a phrase that speaks of the task; case, width and the kind of apostrophe do not count. By default those of
    /// `about_task.txt`.
    #[must_use]
    pub fn with_phrase(mut self, phrase: &str) -> Self {
        let phrase = normal(phrase);
        if !phrase.is_empty() {
            self.task.push(phrase);
        }
        self
    }

    /// The rule by which a text is no instruction, if there is one.
    #[must_use]
    pub fn rule(&self, instruction: &str) -> Option<&'static str> {
        let text = normal(instruction);
        if self.task.iter().any(|phrase| has(&text, phrase)) {
            Some("task")
        } else if self.answer.iter().any(|phrase| text.starts_with(phrase)) {
            Some("answer")
        } else if self.is_statement(&text) {
            Some("statement")
        } else if is_item(&text) {
            Some("alternatives")
        } else {
            None
        }
    }

    /// Whether a text, in normal form, states something and asks for nothing.
    fn is_statement(&self, text: &str) -> bool {
        let bare = text.trim_end_matches(['.', '!', '。', '"', '」', '?']);
        if JAPANESE_ADVICE.iter().any(|end| bare.ends_with(end)) {
            return true;
        }
        let states = if text.chars().next_back().is_some_and(is_unspaced) || text.ends_with('。') {
            JAPANESE_ENDS.iter().any(|end| bare.ends_with(end))
        } else {
            let first = text.split(' ').next().unwrap_or_default();
            text.ends_with(STATEMENT_ENDS) && self.statement.iter().any(|word| word == first)
        };
        states && !text.contains('?') && !self.request.iter().any(|phrase| has(text, phrase))
    }
}

impl Default for NotAboutTask {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a text, in normal form, is an item of a list or one of several alternatives.
fn is_item(text: &str) -> bool {
    let mut chars = text.strip_prefix('(').unwrap_or(text).chars();
    let lettered = chars.next().is_some_and(|c| matches!(c, 'a'..='d'))
        && [")", ". "]
            .iter()
            .any(|close| chars.as_str().starts_with(close));
    lettered || ITEM_MARKS.iter().any(|mark| text.starts_with(mark))
}

#[async_trait]
impl Filter<Draft> for NotAboutTask {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        Ok(match self.rule(draft.instruction()?.text()) {
            Some(rule) => Decision::Drop(Reason::new("about_task").with_detail(rule)),
            None => Decision::Keep,
        })
    }
}
