//! What a record holds: a pair, or a reason why it holds none.

use super::{pair::InstructionPair, report::PassedOver};
use crate::dataset::checks::check_nul;

/// What a record that can be read holds.
pub(super) enum Found {
    Pair(InstructionPair),
    PassedOver(PassedOver),
}

/// A pair of two texts, unless one of them is empty.
pub(super) fn found(instruction: String, response: String) -> Result<Found, String> {
    check_nul("instruction", &instruction)?;
    check_nul("response", &response)?;
    Ok(if instruction.trim().is_empty() {
        Found::PassedOver(PassedOver::EmptyInstruction)
    } else if response.trim().is_empty() {
        Found::PassedOver(PassedOver::EmptyResponse)
    } else {
        Found::Pair(InstructionPair {
            instruction,
            response,
        })
    })
}
