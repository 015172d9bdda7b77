//! What a run makes: preference pairs with provenance.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Lineage, Origin, Verdict, text::Redacted};

/// Where one side of a pair comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The source text.
    Source,
    /// The response of the expert model.
    Expert,
    /// The response of the second generator.
    Counterpart,
}

/// How the judge decided, with the places that the responses had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdict on the order that the judge saw.
    pub verdict: Verdict,
    /// Whether the judge saw the expert's response first. The order is drawn from the lineage.
    pub expert_first: bool,
    /// By how much the first response is better, in the judge's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Whether the judge changed its mind when the responses changed places.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flipped: bool,
    /// How the judgement was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Everything needed to make a pair again, and to ask where it comes from.
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
    /// How the judge decided.
    pub judgement: Judged,
}

/// `{prompt, chosen, rejected}`, the schema of preference trainers, with provenance beside it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct PreferencePair {
    /// The instruction.
    pub prompt: String,
    /// The better response.
    pub chosen: String,
    /// The worse response.
    pub rejected: String,
    /// Where all of it comes from.
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
