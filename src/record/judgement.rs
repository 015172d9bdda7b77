//! Which of two responses is better.

use serde::{Deserialize, Serialize};

use super::Origin;

/// Which of two responses is better for an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first one.
    First,
    /// The second one.
    Second,
    /// Neither is better.
    Tie,
}

impl Verdict {
    /// The verdict when the two responses change places.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Tie => Self::Tie,
        }
    }
}

/// A [`Verdict`] with what the judge can say about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    verdict: Verdict,
    /// Signed: above 0 the first response is better, below 0 the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    flipped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Box<Origin>>,
}

impl Judgement {
    /// A bare verdict.
    #[must_use]
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            margin: None,
            flipped: false,
            origin: None,
        }
    }

    /// The first response is better.
    #[must_use]
    pub fn first() -> Self {
        Self::new(Verdict::First)
    }

    /// The second response is better.
    #[must_use]
    pub fn second() -> Self {
        Self::new(Verdict::Second)
    }

    /// Neither response is better.
    #[must_use]
    pub fn tie() -> Self {
        Self::new(Verdict::Tie)
    }

    /// Says by how much the first response is better (below 0: the second). The unit is the judge's own, such as
    /// nats for a likelihood judge.
    #[must_use]
    pub fn with_margin(mut self, margin: f64) -> Self {
        self.margin = Some(margin);
        self
    }

    /// Says that the judge changed its mind when the responses changed places.
    #[must_use]
    pub fn with_flipped(mut self, flipped: bool) -> Self {
        self.flipped = flipped;
        self
    }

    /// Says how the judgement was made.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(Box::new(origin));
        self
    }

    /// Which response is better.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// By how much the first response is better, in the judge's own unit.
    #[must_use]
    pub fn margin(&self) -> Option<f64> {
        self.margin
    }

    /// Whether the judge changed its mind when the responses changed places.
    #[must_use]
    pub fn flipped(&self) -> bool {
        self.flipped
    }

    /// How it was made.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// Takes out how it was made.
    #[must_use]
    pub fn into_origin(self) -> Option<Origin> {
        self.origin.map(|origin| *origin)
    }

    /// The judgement when the two responses change places.
    #[must_use]
    pub fn swapped(mut self) -> Self {
        self.verdict = self.verdict.swapped();
        self.margin = self.margin.map(|margin| -margin);
        self
    }
}

impl From<Verdict> for Judgement {
    fn from(verdict: Verdict) -> Self {
        Self::new(verdict)
    }
}
