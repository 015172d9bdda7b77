//! Laws of a [`Filter`].

use std::borrow::Cow;

use super::{
    HOSTILE_TEXTS,
    law::{Law, Verified, repeats, total as totality},
};
use crate::{
    record::{Draft, Instruction, Judgement, Response, SourceText},
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

/// Items that the kit can make of any text, to show them to a filter.
pub trait Specimen: Sized + Send + Sync + 'static {
    /// One item for each place at which a filter may stand. Every text in it is `text`. Of drafts there are four: one
    /// with an instruction, one with a response too, one that is judged, and one with a counterpart.
    fn specimens(id: &str, text: &str) -> Vec<Self>;
}

impl Specimen for SourceText {
    fn specimens(id: &str, text: &str) -> Vec<Self> {
        vec![Self::new(id, text)]
    }
}

impl Specimen for Draft {
    fn specimens(id: &str, text: &str) -> Vec<Self> {
        let source = SourceText::new(id, text).with_category("kit@1:specimen");
        let lineage = source.lineage().clone();
        let response = || Response::new(text).with_lineage(lineage.clone());
        let instruction = Instruction::new(text).with_lineage(lineage.clone());
        let induced = Self::new(source).with_instruction(instruction);
        let answered = induced.clone().with_response(response());
        let judged = answered.clone().with_judgement(Judgement::first(), true);
        let other = judged.clone().with_counterpart(response());
        vec![induced, answered, judged, other]
    }
}

/// The items of several texts, each with a name for messages.
fn items<'t, T: Specimen>(
    texts: impl IntoIterator<Item = (&'t str, Cow<'t, str>)>,
) -> Vec<(String, T)> {
    let items = texts.into_iter().flat_map(|(name, text)| {
        let places = T::specimens(name, &text).into_iter().enumerate();
        places.map(move |(place, item)| (format!("{name}, item {place}"), item))
    });
    items.collect()
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
        // The same text under another id: a filter that remembers takes it for a duplicate.
        ("short again", "No."),
    ];
    let items = items::<T>(ordinary.map(|(name, text)| (name, text.into())));
    repeats("determinism", &items, |item| filter.assess(item)).await
}

/// No text makes the filter panic. Errors are answers too.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn total<T: Specimen>(filter: &dyn Filter<T>) -> Verified {
    let hostile = HOSTILE_TEXTS.iter();
    let items = items::<T>(hostile.map(|hostile| (hostile.name, hostile.text().into())));
    totality("total", &items, |item| filter.assess(item)).await
}
