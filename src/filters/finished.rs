//! Texts that were cut off at `max_tokens`.

use async_trait::async_trait;

use crate::{
    error::Result,
    outcome::Decision,
    record::{Candidate, Induced, Origin},
    stage::Filter,
};

/// Drops instructions and expert's responses that were cut off at `max_tokens`. Reason: `truncated`.
///
/// A text of unknown [`Origin`] is kept.
///
/// ```
/// use safer_instruct::{Filter, Induced, Instruction, Origin, SourceText, filters::Finished};
///
/// # futures::executor::block_on(async {
/// let cut = Origin { truncated: true, ..Origin::default() };
/// let mut item = Induced {
///     source: SourceText::new("a", "Twice a day."),
///     instruction: Instruction::new("How often should I"),
/// };
/// assert!(Finished.assess(&item).await?.is_keep());
/// item.instruction = item.instruction.with_origin(cut);
/// assert!(!Finished.assess(&item).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Finished;

#[async_trait]
impl Filter<Induced> for Finished {
    async fn assess(&self, item: &Induced) -> Result<Decision> {
        Ok(decide(item.instruction.origin()))
    }
}

#[async_trait]
impl Filter<Candidate> for Finished {
    async fn assess(&self, item: &Candidate) -> Result<Decision> {
        Ok(decide(item.response.origin()))
    }
}

fn decide(origin: Option<&Origin>) -> Decision {
    if origin.is_some_and(|origin| origin.truncated) {
        Decision::drop("truncated")
    } else {
        Decision::Keep
    }
}
