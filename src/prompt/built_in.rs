//! The prompts of this crate, to read and to copy.

use crate::{error::Result, prompt::PromptTemplate, text::Language};

/// A prompt of this crate: its text, and the slots that its stage fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// The name of the file, without its ending.
    pub name: &'static str,
    /// The text of the file.
    pub text: &'static str,
    /// The slots, as [`PromptTemplate::parse`] takes them.
    pub slots: &'static [&'static str],
}

impl BuiltIn {
    /// Parses the prompt.
    #[must_use]
    pub fn template(&self) -> PromptTemplate {
        PromptTemplate::built_in(self.text)
    }
}

macro_rules! built_in {
    ($($(#[$doc:meta])* $name:ident = $file:literal, $slots:expr;)+) => {
        $(
            $(#[$doc])*
            pub const $name: BuiltIn = BuiltIn {
                name: $file,
                text: include_str!(concat!("templates/", $file, ".md")),
                slots: $slots,
            };
        )+
        /// All prompts of this crate.
        pub const ALL: &[BuiltIn] = &[$($name),+];
    };
}

built_in! {
    /// Induction by a model that was tuned in reverse: the template of SAFER-INSTRUCT (arXiv 2311.08685, from its
    /// repository).
    INDUCE_REVERSED = "induce.reversed", &["source"];
    /// Induction by example, for English source texts.
    INDUCE_EN = "induce.en", INDUCE_SLOTS;
    /// Induction by example, for Japanese source texts.
    INDUCE_JA = "induce.ja", INDUCE_SLOTS;
    /// Induction for source texts in any other language.
    INDUCE_OTHER = "induce.other", INDUCE_SLOTS;
    /// The expert's response to an English instruction.
    RESPOND_EN = "respond.en", RESPOND_SLOTS;
    /// The expert's response to a Japanese instruction.
    RESPOND_JA = "respond.ja", RESPOND_SLOTS;
    /// The expert's response to an instruction in any other language.
    RESPOND_OTHER = "respond.other", RESPOND_SLOTS;
    /// The question which of two responses is better, answered by a line such as `Verdict: A`.
    JUDGE_PAIRWISE = "judge.pairwise", JUDGE_SLOTS;
    /// The question which of two responses is better, answered by the next letter.
    JUDGE_LIKELIHOOD = "judge.likelihood", JUDGE_SLOTS;
    /// The question whether an instruction is clear and the text answers it, answered by `yes` or `no`.
    QUALITY = "quality", &["instruction", "source", "fence?"];
}

const INDUCE_SLOTS: &[&str] = &["source", "language?"];
const RESPOND_SLOTS: &[&str] = &["instruction", "policy?", "language?"];
const JUDGE_SLOTS: &[&str] = &["instruction", "first", "second", "policy?", "fence?"];

/// The default policy of the expert, in English.
pub const POLICY_EN: &str = include_str!("templates/policy.en.txt").trim_ascii_end();
/// The default policy of the expert, in Japanese.
pub const POLICY_JA: &str = include_str!("templates/policy.ja.txt").trim_ascii_end();
/// The default policy of the judges.
pub const POLICY_JUDGE: &str = include_str!("templates/policy.judge.txt").trim_ascii_end();

/// One prompt in several languages.
#[derive(Clone, Debug)]
pub(crate) struct Localized {
    english: PromptTemplate,
    japanese: PromptTemplate,
    other: PromptTemplate,
}

impl Localized {
    pub(crate) fn new(english: BuiltIn, japanese: BuiltIn, other: BuiltIn) -> Self {
        Self {
            english: english.template(),
            japanese: japanese.template(),
            other: other.template(),
        }
    }

    /// Parses one prompt of the user for all languages.
    pub(crate) fn parse(text: &str, slots: &[&str]) -> Result<Self> {
        let template = PromptTemplate::parse(text, slots)?;
        Ok(Self {
            english: template.clone(),
            japanese: template.clone(),
            other: template,
        })
    }

    /// Fixes the value of a slot: `japanese` in the Japanese prompt, with `english` elsewhere.
    pub(crate) fn with_value(mut self, name: &str, english: &str, japanese: &str) -> Self {
        self.english = self.english.with_value(name, english);
        self.japanese = self.japanese.with_value(name, japanese);
        self.other = self.other.with_value(name, english);
        self
    }

    pub(crate) fn of(&self, language: Language) -> &PromptTemplate {
        if language.is_japanese() {
            &self.japanese
        } else if language.is_likely_english() {
            &self.english
        } else {
            &self.other
        }
    }
}
