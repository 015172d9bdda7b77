//! Laws of an [`InstructionGenerator`].

use super::{
    HOSTILE_TEXTS,
    law::{Law, Verified, beside_others, repeats, total as totality},
};
use crate::{
    record::{Lineage, SourceText},
    stage::InstructionGenerator,
};

/// Every law of an instruction generator.
pub const INDUCTION_LAWS: &[Law<dyn InstructionGenerator>] = &[
    Law::new("determinism", |stage| Box::pin(determinism(stage))),
    Law::new("alone_is_beside_others", |stage| {
        Box::pin(alone_is_beside_others(stage))
    }),
    Law::new("total", |stage| Box::pin(total(stage))),
];

fn made_of(id: &str, draw: u32, text: &str) -> SourceText {
    let lineage = Lineage::new(id, draw, 7);
    SourceText::new(id, text).with_lineage(lineage)
}

fn questions() -> Vec<(String, SourceText)> {
    let texts = [
        (
            "English",
            "You will never be any good at this, so stop trying.",
        ),
        ("Japanese", "どうせ無理だから、もうやめたほうがいい。"),
        ("short", "No."),
    ];
    (0..2)
        .flat_map(|draw| {
            texts.map(|(id, text)| (format!("{id}, draw {draw}"), made_of(id, draw, text)))
        })
        .collect()
}

/// The same source text and lineage give the same result, whatever was asked in between.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn determinism(stage: &dyn InstructionGenerator) -> Verified {
    repeats("determinism", &questions(), |source| stage.induce(source)).await
}

/// A result does not depend on what else is asked at the same time.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn alone_is_beside_others(stage: &dyn InstructionGenerator) -> Verified {
    beside_others("alone_is_beside_others", &questions(), |source| {
        stage.induce(source)
    })
    .await
}

/// No source text makes the stage panic. Errors are answers too.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn total(stage: &dyn InstructionGenerator) -> Verified {
    let hostile: Vec<_> = HOSTILE_TEXTS
        .iter()
        .map(|hostile| {
            (
                hostile.name.to_owned(),
                made_of(hostile.name, 0, &hostile.text()),
            )
        })
        .collect();
    totality("total", &hostile, |source| stage.induce(source)).await
}
