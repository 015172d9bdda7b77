//! Preference pairs with their provenance: what a run makes.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Assessment, Lineage, Origin, Verdict, text::Redacted};

/// The origin of one side of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The source text.
    Source,
    /// The response of the expert model.
    Expert,
    /// The response of the counterpart, the second generator.
    Counterpart,
}

/// The judgement on a pair, with the places in which the judge saw the responses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdict, on the order that the judge saw.
    pub verdict: Verdict,
    /// Whether the judge saw the expert's response first. The order is drawn from the lineage.
    pub expert_first: bool,
    /// The margin by which the first response is better, in the judge's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Whether the judge gave different verdicts in the two orders of the responses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flipped: bool,
    /// How the judgement was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// The provenance of a pair: everything that is needed to trace it and to make it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Source text, draw and run seed.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// The kind of harm, as `taxonomy@version:code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Arc<str>>,
    /// Where `chosen` comes from.
    pub chosen_from: Side,
    /// Where `rejected` comes from.
    pub rejected_from: Side,
    /// How the instruction was induced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub induction: Option<Origin>,
    /// How the expert's response was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Origin>,
    /// How the counterpart's response was made, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterpart: Option<Origin>,
    /// What a guard found in `chosen`, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_assessment: Option<Assessment>,
    /// What a guard found in `rejected`, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_assessment: Option<Assessment>,
    /// How the judge decided.
    pub judgement: Judged,
}

/// A preference pair: `{prompt, chosen, rejected}`, the schema of preference trainers, with its provenance.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct PreferencePair {
    /// The instruction.
    pub prompt: String,
    /// The better response.
    pub chosen: String,
    /// The worse response.
    pub rejected: String,
    /// The provenance.
    pub provenance: Provenance,
}

impl fmt::Debug for PreferencePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreferencePair")
            .field("prompt", &Redacted(&self.prompt))
            .field("chosen", &Redacted(&self.chosen))
            .field("rejected", &Redacted(&self.rejected))
            .field("provenance", &self.provenance)
            .finish()
    }
}
