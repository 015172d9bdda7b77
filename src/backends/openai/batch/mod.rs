//! Batches of requests: the batch endpoints of OpenAI-compatible servers, which answer within a day, often at half the
//! price.
//!
//! [`BatchModel`] is a [`ChatModel`](crate::ChatModel), so a pipeline uses it unchanged, with a high concurrency. Each
//! call waits in a queue. The queue is sent as a batch once it is large enough or no call has arrived for a while, and
//! the results answer the calls. A pipeline with three calls per text thus takes about three batches, one after the
//! other, however many texts are in flight.
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # fn run() -> safer_instruct::Result<()> {
//! use safer_instruct::backends::openai::{Client, OpenAiModel, batch::BatchModel};
//!
//! // The results of a batch come in one response.
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
//! A batch is written to the folder before it is uploaded, and its results before any call is answered. So a run may be
//! killed at any time and started again with the same folder:
//!
//! - The results of batches in progress are awaited.
//! - A batch that may or may not have been created is looked up in the server's list of batches, by a name in its
//!   metadata.
//! - A request that already has a result is answered without the server.
//!
//! Equal requests are sent once: a request is identified by a hash of its content, including the seed. Errors that the
//! request itself causes count as results. Two processes cannot use one folder at the same time.
//!
//! Two cases remain. If the server stores no metadata, a batch may be created twice when the process is killed while it
//! creates the batch. If the server no longer knows a batch, the error says which files to move away to send, and pay
//! for, its requests again.
//!
//! The folder holds texts and completions, but no key. It may be deleted once nothing more is to be asked.
//!
//! # Retries
//!
//! A request goes into a later batch if it expired, failed with a transient status, or has no row in the results. After
//! [three attempts](BatchModelBuilder::with_max_attempts) it fails with [`Error::Exhausted`](crate::Error::Exhausted).
//! No other retry around the model is needed. A timeout around it should be long.
//!
//! # Execution
//!
//! No task is spawned. Every call that waits for a completion polls the work on all batches. Dropping a call removes
//! its request from the queue if it has not been sent, and affects no other call. While no call waits nothing is done
//! here; the server goes on by itself. Files are read and written on a thread of the model.
//!
//! # Without a server
//!
//! [`BatchWriter`] writes requests into files, for instance for `vllm run-batch`, and [`BatchReader`] reads the
//! results. [`BatchClient`] sends the requests of the protocol, without a queue or a folder.

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
mod steps;
mod writer;

pub use client::BatchClient;
pub use line::RequestLine;
pub use model::{BatchModel, BatchModelBuilder};
pub use protocol::{Batch, BatchFault, BatchPage, BatchStatus, RequestCounts};
pub use reader::BatchReader;
pub use row::BatchRow;
pub use writer::{BatchLimits, BatchWriter};
