//! One record to one pair, to a reason why it holds none, or to what is wrong with it. No reason shows the record.

use super::{InstructionColumns, InstructionPair, columns, report::PassedOver, turns};
use crate::dataset::parse::{check_nul, object, utf8};

/// What a record that can be read holds.
pub(super) enum Found {
    Pair(InstructionPair),
    PassedOver(PassedOver),
}

/// Where conversations stand: in ShareGPT's files, and in those of chat models.
const LISTS: [&str; 2] = ["conversations", "messages"];

/// A conversation, unless columns are asked for, or columns.
pub(super) fn json(columns: Option<&InstructionColumns>, record: &[u8]) -> Result<Found, String> {
    let mut object = object(utf8(record)?)?;
    if columns.is_none() {
        for list in LISTS {
            if let Some(turns) = object.remove(list) {
                return turns::first_exchange(list, turns);
            }
        }
    }
    columns::in_object(columns, object)
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
