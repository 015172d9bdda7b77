//! What became of a source text: kept, dropped or failed. Nothing else can happen to it.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    record::{
        Candidate, Induced, Instruction, Judgement, Lineage, PreferencePair, Provenance, Response,
        Side, SourceText,
    },
};

/// A place in the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Filters on the source text.
    Source,
    /// Inducing the instruction, and filters on it.
    Induce,
    /// The expert's response (and the counterpart's), and filters on it.
    Respond,
    /// Judging, and what follows from the verdict.
    Judge,
    /// Filters on the finished pair.
    Pair,
}

impl Stage {
    /// The name in files and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Induce => "induce",
            Self::Respond => "respond",
            Self::Judge => "judge",
            Self::Pair => "pair",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an item was dropped: a stable code for counting, and a detail for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable and in snake case, such as `too_short`.
    pub code: Cow<'static, str>,
    /// Numbers and names, never a text of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Reason {
    /// A reason with a stable code in snake case.
    pub fn new(code: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: code.into(),
            detail: None,
        }
    }

    /// Adds numbers and names, never a text of the data.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{} ({detail})", self.code),
            None => f.write_str(&self.code),
        }
    }
}

/// What a [`Filter`](crate::Filter) says about an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The item goes on.
    Keep,
    /// The item ends here.
    Drop(Reason),
}

impl Decision {
    /// Drops with a bare reason code.
    pub fn drop(code: impl Into<Cow<'static, str>>) -> Self {
        Self::Drop(Reason::new(code))
    }

    /// Whether the item goes on.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// How far a source text came before it was dropped or failed, so that nothing that was paid for is lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The source text.
    pub source: SourceText,
    /// The induced instruction.
    pub instruction: Option<Instruction>,
    /// The expert's response.
    pub response: Option<Response>,
    /// The counterpart's response.
    pub counterpart: Option<Response>,
    /// The judgement, on the order that the judge saw.
    pub judgement: Option<Judgement>,
}

impl Draft {
    /// A source text to which nothing has been done yet.
    #[must_use]
    pub fn new(source: SourceText) -> Self {
        Self {
            source,
            instruction: None,
            response: None,
            counterpart: None,
            judgement: None,
        }
    }
}

impl From<SourceText> for Draft {
    fn from(source: SourceText) -> Self {
        Self::new(source)
    }
}

impl From<Induced> for Draft {
    fn from(induced: Induced) -> Self {
        Self {
            instruction: Some(induced.instruction),
            ..Self::new(induced.source)
        }
    }
}

impl From<Candidate> for Draft {
    fn from(candidate: Candidate) -> Self {
        Self {
            instruction: Some(candidate.instruction),
            response: Some(candidate.response),
            counterpart: candidate.counterpart,
            ..Self::new(candidate.source)
        }
    }
}

impl From<(Candidate, Judgement)> for Draft {
    fn from((candidate, judgement): (Candidate, Judgement)) -> Self {
        Self {
            judgement: Some(judgement),
            ..Self::from(candidate)
        }
    }
}

impl From<PreferencePair> for Draft {
    /// Takes a pair apart again. If neither side is the source text, its text is gone and the source has an empty one.
    fn from(pair: PreferencePair) -> Self {
        let PreferencePair {
            prompt,
            chosen,
            rejected,
            provenance,
        } = pair;
        let Provenance {
            lineage,
            category,
            induction,
            response,
            counterpart,
            judgement,
            ..
        } = provenance;
        let mut draft = Self::new(SourceText::new("", ""));
        let mut source_text = String::new();
        let sides = [
            (chosen, provenance.chosen_from),
            (rejected, provenance.rejected_from),
        ];
        let (mut response, mut counterpart) = (response, counterpart);
        for (text, side) in sides {
            match side {
                Side::Source => source_text = text,
                Side::Expert => {
                    draft.response = Some(Response::made(text, response.take(), &lineage));
                }
                Side::Counterpart => {
                    draft.counterpart = Some(Response::made(text, counterpart.take(), &lineage));
                }
            }
        }
        draft.instruction = Some(Instruction::made(prompt, induction, &lineage));
        draft.judgement = Some(judgement.into());
        draft.source = SourceText::from_parts(source_text, category, lineage);
        draft
    }
}

/// What became of one draw at one source text.
#[derive(Debug)]
pub enum Outcome {
    /// A preference pair came out.
    Kept(Box<PreferencePair>),
    /// A filter, a tie or an upset ended it. Not an error.
    Dropped {
        /// Where.
        stage: Stage,
        /// Why.
        reason: Reason,
        /// What had been made of it until then.
        draft: Box<Draft>,
    },
    /// A stage returned an error.
    Failed {
        /// Where.
        stage: Stage,
        /// What happened.
        error: Error,
        /// What had been made of it until then.
        draft: Box<Draft>,
    },
}

impl Outcome {
    /// Which source text and draw it is about.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        match self {
            Self::Kept(pair) => &pair.provenance.lineage,
            Self::Dropped { draft, .. } | Self::Failed { draft, .. } => draft.source.lineage(),
        }
    }

    /// The pair, if there is one.
    #[must_use]
    pub fn pair(&self) -> Option<&PreferencePair> {
        match self {
            Self::Kept(pair) => Some(pair),
            Self::Dropped { .. } | Self::Failed { .. } => None,
        }
    }
}
