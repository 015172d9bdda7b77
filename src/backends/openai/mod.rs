//! Served models: any server that speaks OpenAI's protocol, such as vLLM, SGLang, llama.cpp or OpenAI itself.
//!
//! [`OpenAiModel`] is a [`ChatModel`](crate::ChatModel) and a [`ScoringModel`](crate::ScoringModel). It is the protocol alone; what carries it is an [`HttpTransport`]. With the
//! feature `reqwest` there is one, `Client`, and it is taken unless another is given.
//!
//! One call is one try: [`Decorate::with_retry`](crate::Decorate::with_retry) tries again after what may pass (a cut connection, a busy
//! server, a rate limit, which also holds up all other calls, a minute at most at a time), and leaves the rest alone (a wrong key, a text that is too long).
//!
//! Servers differ beyond the common protocol, and [`Server`] says in what. [`OpenAiModelBuilder::connect`] finds out which one it is and
//! tries what the run will [need](OpenAiModelBuilder::with_need), so that a run does not begin that cannot end.
//!
//! Requests that may take a day go in batches: the feature `batch` adds the module of that name.
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # async fn run() -> safer_instruct::Result<()> {
//! use std::time::Duration;
//! use safer_instruct::{ChatModel, ChatRequest, Decorate, Message, RetryPolicy, backends::openai::{Client, Need, OpenAiModel}};
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
//! # What no protocol has
//!
//! - **Control tokens.** A server encodes the whole conversation with its control tokens at work, so a text that holds `<|im_end|>` would
//!   end its own message. An invisible character (U+200B) is put into every such marker of the known model families.
//! - **Seeds** have 31 bits, and servers that batch do not always give the same completion for the same seed.
//! - **Scores.** vLLM scores any continuation; llama.cpp those of up to 64 tokens, with a request for each token; others those of raw text, if they `echo` it with its tokens; OpenAI and others, of chats, only
//!   among the 20 likeliest first tokens. There a label is as likely as the tokens that are it, with any white space before; one that is
//!   none of them at most as likely as those that it may begin with and all that are not named, which is then its score; and two that may
//!   begin with the same token are refused.

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
