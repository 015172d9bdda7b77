//! The filter on texts that were cut off at `max_tokens`.

use async_trait::async_trait;

use crate::{error::Result, outcome::Decision, record::Draft, stage::Filter};

/// Drops instructions and expert's responses that were cut off at `max_tokens`. Reason: `truncated`.
///
/// It looks at the response, if there is one, and else at the instruction. A text of unknown [`Origin`](crate::Origin)
/// is kept.
///
/// ```
/// use safer_instruct::{Draft, Filter, Instruction, Origin, SourceText, filters::Finished};
///
/// # futures::executor::block_on(async {
/// let cut = Origin { truncated: true, ..Origin::default() };
/// let instruction = Instruction::new("How often should I");
/// let draft = Draft::new(SourceText::new("a", "Twice a day.")).with_instruction(instruction.clone());
/// assert!(Finished.assess(&draft).await?.is_keep());
/// let draft = draft.with_instruction(instruction.with_origin(cut));
/// assert!(!Finished.assess(&draft).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Finished;

#[async_trait]
impl Filter<Draft> for Finished {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        let origin = match draft.response() {
            Ok(response) => response.origin(),
            Err(_) => draft.instruction()?.origin(),
        };
        Ok(if origin.is_some_and(|origin| origin.truncated) {
            Decision::drop("truncated")
        } else {
            Decision::Keep
        })
    }
}
