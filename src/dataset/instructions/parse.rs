//! Parses a record into a pair, or a reason why it holds none. No reason shows the record.

use super::{
    columns::{self, InstructionColumns},
    found::Found,
    turns,
};
use crate::dataset::checks::{object, utf8};

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
