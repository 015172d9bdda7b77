//! Batches.

mod client;
mod line;
mod reader;
mod row;
mod wire;
mod writer;

pub use client::BatchClient;
pub use line::RequestLine;
pub use reader::BatchReader;
pub use row::BatchRow;
pub use wire::{Batch, BatchFault, BatchPage, BatchStatus, RequestCounts};
pub use writer::{BatchLimits, BatchWriter};
