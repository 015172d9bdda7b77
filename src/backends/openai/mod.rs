//! Served models: any server that speaks OpenAI's protocol, such as vLLM, SGLang, llama.cpp or OpenAI itself.
//!
//! [`OpenAiModel`] is a [`ChatModel`](crate::ChatModel) and a [`ScoringModel`](crate::ScoringModel). It speaks the
//! protocol; an [`HttpTransport`] sends the requests. The feature `reqwest` adds one, `Client`, which is used unless
//! another is given.
//!
//! A call sends one request. [`Decorate::with_retry`](crate::Decorate::with_retry) retries errors that are transient: a
//! lost connection, a busy server, a rate limit. It does not retry the others, such as a wrong key or a text that is
//! too long. A rate limit holds back all requests of the model, for at most a minute at a time.
//!
//! Servers differ in what they add to the protocol; [`Server`] names those that the crate knows.
//! [`OpenAiModelBuilder::connect`] detects the server and tests what the run [needs](OpenAiModelBuilder::with_need), so
//! that a missing ability is found before the run and not in the middle of it.
//!
//! Requests that may take a day can be sent in batches, often at half the price: the feature `batch` adds the module of
//! that name.
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # async fn run() -> safer_instruct::Result<()> {
//! use std::time::Duration;
//! use safer_instruct::{
//!     ChatModel, ChatRequest, Decorate, Message, RetryPolicy,
//!     backends::openai::{Client, Need, OpenAiModel},
//! };
//!
//! let client = Client::new()?;
//! let model = OpenAiModel::builder("http://localhost:8000/v1", "Qwen/Qwen3-8B")
//!     .with_client(client.clone())
//!     .with_need(Need::Scores)
//!     .connect()
//!     .await?
//!     .with_retry(RetryPolicy::default(), client);
//! let request = ChatRequest::new(vec![Message::user("Name three rivers.")]);
//! println!("{}", model.complete(&request).await?.text);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits of the protocol
//!
//! - **Control tokens.** A server tokenizes the whole conversation with its control tokens enabled, so a text that
//!   contains `<|im_end|>` would end its own message. The crate inserts an invisible character (U+200B) into each such
//!   marker of the known model families.
//! - **Seeds** have 31 bits. A server that batches requests may give different completions for the same seed.
//! - **Scores.** vLLM scores any continuation, and llama.cpp one of up to 64 tokens, with a request per token. Other
//!   servers score continuations of raw text if they support `echo`. For chats, OpenAI and others give only the 20 most
//!   likely first tokens. There, the score of a label is the sum over the tokens that equal it, with or without leading
//!   white space. A label that equals none of them gets an upper bound: the tokens that it may begin with, plus all
//!   that are not listed. Two labels that may begin with the same token are an error.

#[cfg(feature = "batch")]
#[cfg_attr(docsrs, doc(cfg(feature = "batch")))]
pub mod batch;
mod builder;
mod connect;
mod errors;
mod http;
mod model;
mod scores;
#[cfg(test)]
mod tests;
mod wire;

pub use builder::OpenAiModelBuilder;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub use http::client::{Client, ClientBuilder};
pub use http::{
    limits::Limits,
    transport::{HttpRequest, HttpResponse, HttpTransport, TransportError},
};
pub use model::OpenAiModel;
pub use wire::dialect::{Need, Server};
