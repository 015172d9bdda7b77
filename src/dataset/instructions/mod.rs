//! Instructions with their responses, to train a model with.

mod columns;
mod elements;
mod pair;
mod parse;
mod reader;
mod records;
mod report;
mod turns;

pub use columns::InstructionColumns;
pub use pair::{HoldOut, InstructionPair, hold_out};
pub use reader::{InstructionReader, InstructionReaderBuilder};
pub use report::InstructionReport;
