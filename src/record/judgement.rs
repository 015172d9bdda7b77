//! The judgement on two responses.

use serde::{Deserialize, Serialize};

use super::Origin;

/// The better one of two responses to an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first response is better.
    First,
    /// The second response is better.
    Second,
    /// Neither response is better.
    Tie,
}

impl Verdict {
    /// Gives the verdict for the two responses in the other order.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Tie => Self::Tie,
        }
    }
}

/// A [`Verdict`], and what the judge can say about it.
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
    /// Makes a judgement from a bare verdict.
    #[must_use]
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            margin: None,
            flipped: false,
            origin: None,
        }
    }

    /// Makes a judgement for the first response.
    #[must_use]
    pub fn first() -> Self {
        Self::new(Verdict::First)
    }

    /// Makes a judgement for the second response.
    #[must_use]
    pub fn second() -> Self {
        Self::new(Verdict::Second)
    }

    /// Makes a judgement for neither response.
    #[must_use]
    pub fn tie() -> Self {
        Self::new(Verdict::Tie)
    }

    /// Sets by how much the first response is better; below 0 the second one is. The unit is the judge's own, such as
    /// nats for a likelihood judge. By default there is no margin.
    #[must_use]
    pub fn with_margin(mut self, margin: f64) -> Self {
        self.margin = Some(margin);
        self
    }

    /// Sets whether the judge gave different verdicts in the two orders of the responses. By default false.
    #[must_use]
    pub fn with_flipped(mut self, flipped: bool) -> Self {
        self.flipped = flipped;
        self
    }

    /// Sets how the judgement was made. By default nothing is known of it.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(Box::new(origin));
        self
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The margin by which the first response is better, in the judge's own unit. Below 0 the second one is better.
    #[must_use]
    pub fn margin(&self) -> Option<f64> {
        self.margin
    }

    /// Whether the judge gave different verdicts in the two orders of the responses.
    #[must_use]
    pub fn flipped(&self) -> bool {
        self.flipped
    }

    /// The origin: how the judgement was made.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// Takes out the origin.
    #[must_use]
    pub fn into_origin(self) -> Option<Origin> {
        self.origin.map(|origin| *origin)
    }

    /// Gives the judgement for the two responses in the other order.
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
