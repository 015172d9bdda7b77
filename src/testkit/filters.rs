//! Laws of a [`Filter`].

use std::sync::Arc;

use super::{
    HOSTILE_TEXTS,
    law::{Law, Verified, repeats, total as totality},
};
use crate::{
    record::{
        Candidate, Induced, Instruction, Judged, Lineage, PreferencePair, Provenance, Response,
        Side, SourceText, Verdict,
    },
    stage::Filter,
};

/// Every law of a filter on `T`.
#[must_use]
pub fn filter_laws<T: Specimen>() -> [Law<dyn Filter<T>>; 2] {
    [
        Law::new("determinism", |filter| Box::pin(determinism::<T>(filter))),
        Law::new("total", |filter| Box::pin(total::<T>(filter))),
    ]
}

/// An item that the kit can make of any text, to show it to a filter.
pub trait Specimen: Send + Sync + 'static {
    /// An item in which every text is `text`.
    fn specimen(id: &str, text: &str) -> Self;
}

impl Specimen for SourceText {
    fn specimen(id: &str, text: &str) -> Self {
        Self::new(id, text)
    }
}

impl Specimen for Induced {
    fn specimen(id: &str, text: &str) -> Self {
        let source = SourceText::specimen(id, text);
        let instruction = Instruction::new(text).with_lineage(source.lineage().clone());
        Self {
            source,
            instruction,
        }
    }
}

impl Specimen for Candidate {
    fn specimen(id: &str, text: &str) -> Self {
        let Induced {
            source,
            instruction,
        } = Induced::specimen(id, text);
        let response = Response::new(text).with_lineage(source.lineage().clone());
        Self {
            source,
            instruction,
            response,
            counterpart: None,
        }
    }
}

impl Specimen for PreferencePair {
    fn specimen(id: &str, text: &str) -> Self {
        Self {
            prompt: text.to_owned(),
            chosen: text.to_owned(),
            rejected: text.to_owned(),
            provenance: Provenance {
                lineage: Lineage::new(id, 0, 0),
                category: Some(Arc::from("kit@1:specimen")),
                chosen_from: Side::Expert,
                rejected_from: Side::Source,
                induction: None,
                response: None,
                counterpart: None,
                judgement: Judged {
                    verdict: Verdict::First,
                    expert_first: true,
                    margin: None,
                    flipped: false,
                    origin: None,
                },
            },
        }
    }
}

/// The same item gets the same decision and reason, whatever was shown in between.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn determinism<T: Specimen>(filter: &dyn Filter<T>) -> Verified {
    let ordinary = [
        ("short", "No."),
        (
            "English",
            "You will never be any good at this, so stop trying.",
        ),
        ("Japanese", "どうせ無理だから、もうやめたほうがいい。"),
        ("a question", "Is that all you have got?"),
        // The same text under another id: a filter with a memory takes it for a duplicate.
        ("short again", "No."),
    ];
    let items: Vec<_> = ordinary
        .iter()
        .map(|(name, text)| ((*name).to_owned(), T::specimen(name, text)))
        .collect();
    repeats("determinism", &items, |item| filter.assess(item)).await
}

/// No text makes the filter panic. Errors are answers too.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn total<T: Specimen>(filter: &dyn Filter<T>) -> Verified {
    let items: Vec<_> = HOSTILE_TEXTS
        .iter()
        .map(|hostile| {
            (
                hostile.name.to_owned(),
                T::specimen(hostile.name, &hostile.text()),
            )
        })
        .collect();
    totality("total", &items, |item| filter.assess(item)).await
}
