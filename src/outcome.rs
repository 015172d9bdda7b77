//! What became of a source text: kept, dropped or failed. Nothing else can happen to it.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    record::{Draft, Lineage, PreferencePair},
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

/// What became of one draw at one source text.
#[derive(Debug)]
pub enum Outcome {
    /// A preference pair came out.
    Kept(Box<PreferencePair>),
    /// A filter or the verdict ended it. Not an error.
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
            Self::Dropped { draft, .. } | Self::Failed { draft, .. } => draft.source().lineage(),
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
