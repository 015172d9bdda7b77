//! The outcome of a source text: kept, dropped or failed. There is no other.

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
    /// Judging, and the policy on the verdict.
    Judge,
    /// Filters on the pair.
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

/// The reason why an item was dropped: a stable code to count by, and a detail for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable and in snake case, such as `too_short`.
    pub code: Cow<'static, str>,
    /// Numbers and names. It never holds a text of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Reason {
    /// Makes a reason with a stable code in snake case.
    pub fn new(code: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: code.into(),
            detail: None,
        }
    }

    /// Adds numbers and names. Never put a text of the data into it. By default there is no detail.
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

/// The decision of a [`Filter`](crate::Filter) on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The item goes to the next step.
    Keep,
    /// The item is dropped.
    Drop(Reason),
}

impl Decision {
    /// Drops with a bare reason code.
    pub fn drop(code: impl Into<Cow<'static, str>>) -> Self {
        Self::Drop(Reason::new(code))
    }

    /// Whether the item is kept.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// The outcome of one draw of a source text.
#[derive(Debug)]
pub enum Outcome {
    /// It became a preference pair.
    Kept(Box<PreferencePair>),
    /// A filter or the verdict dropped it. This is not an error.
    Dropped {
        /// The stage that dropped it.
        stage: Stage,
        /// The reason.
        reason: Reason,
        /// The source text, and what had been made of it.
        draft: Box<Draft>,
    },
    /// A stage returned an error.
    Failed {
        /// The stage that failed.
        stage: Stage,
        /// The error.
        error: Error,
        /// The source text, and what had been made of it.
        draft: Box<Draft>,
    },
}

impl Outcome {
    /// The source text and the draw that it is the outcome of.
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
