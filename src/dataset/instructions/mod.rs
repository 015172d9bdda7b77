//! Instructions with their responses, to train a model with.

mod builder;
mod columns;
mod elements;
mod found;
mod pair;
mod parse;
mod reader;
mod records;
mod report;
mod turns;

pub use builder::InstructionReaderBuilder;
pub use columns::InstructionColumns;
pub use pair::{HoldOut, InstructionPair, hold_out};
pub use reader::InstructionReader;
pub use report::InstructionReport;
