//! Requests by the thousand, within a day and mostly at half the price: the batch endpoints of OpenAI-compatible servers.
//!
//! [`BatchModel`] is a [`ChatModel`](crate::ChatModel) like any other, so a pipeline runs over it as it is, with a high concurrency: each
//! call waits in a queue; what waits goes off as a batch when there is enough of it or nothing has come for a while; the results
//! answer the calls. A pipeline with three calls a text thus takes about three batches in a row, whatever the number of texts on their way.
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # fn run() -> safer_instruct::Result<()> {
//! use safer_instruct::backends::openai::{Client, OpenAiModel, batch::BatchModel};
//!
//! // The results of a batch come in one answer.
//! let client = Client::builder().with_max_response(1 << 30).build()?;
//! let model = OpenAiModel::builder("https://api.openai.com/v1", "gpt-4.1-mini")
//!     .with_key(std::env::var("OPENAI_API_KEY").unwrap_or_default())
//!     .with_client(client)
//!     .build()?;
//! let model = BatchModel::builder(model, "run/batches").open()?;
//! // `ExpertResponse::new(model)` and so on, and `Pipeline::with_concurrency(10_000)`.
//! # Ok(())
//! # }
//! ```
//!
//! # Nothing is lost and nothing is paid for twice
//!
//! A batch is written down in the folder before it is uploaded, and its results before any call is answered. So a run may be killed at
//! any time and started again with the same folder: batches that are on their way are waited for, one whose beginning is in doubt is
//! looked for among the server's batches by a name of its own in the metadata, and a request whose result is there is answered
//! without the server. Requests that are equal are asked once: a request is named by a hash of itself, its seed included. Errors that the
//! request itself is the cause of are results, too. Two processes cannot use one folder at the same time.
//!
//! Two things are not in the crate's hands. A server that keeps no metadata cannot say whether it has begun a batch, so after a stop in that
//! very moment it may be begun twice. And a server that no longer knows a batch is an error that says which files to move away to
//! ask, and pay, again.
//!
//! The folder holds texts and completions, and no key. It may be removed once nothing more is to be asked.
//!
//! # Tries
//!
//! A request that expired, failed with a status that may pass, or has no row in the results goes into a later batch,
//! [three times](BatchModelBuilder::with_max_attempts) in all; then it is an [`Error::Exhausted`](crate::Error::Exhausted). Another retry
//! around the model is not needed. A timeout around it should be a long one.
//!
//! # Who does the work
//!
//! Nothing is spawned. Whoever waits for a completion drives all batches, and any of them will do: dropping a call takes its request
//! back if it has not gone off, and stops nothing else. While nobody waits nothing is done; the server goes on by itself. Files are
//! read and written on a thread of the model's own.
//!
//! # Without a server
//!
//! [`BatchWriter`] writes requests into files, for instance for `vllm run-batch`, and [`BatchReader`] reads the results. [`BatchClient`] is
//! the protocol alone.

mod client;
mod disk;
mod event_loop;
mod folder;
mod line;
mod model;
mod protocol;
mod reader;
mod row;
mod shared;
mod state;
mod writer;

pub use client::BatchClient;
pub use line::RequestLine;
pub use model::{BatchModel, BatchModelBuilder};
pub use protocol::{Batch, BatchFault, BatchPage, BatchStatus, RequestCounts};
pub use reader::BatchReader;
pub use row::BatchRow;
pub use writer::{BatchLimits, BatchWriter};
