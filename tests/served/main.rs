//! Served models: every law over a real server of llama.cpp, and every unusual answer over a scripted one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod batch;
mod bodies;
#[cfg(feature = "candle")]
#[path = "../candle_support/mod.rs"]
mod candle_support;
mod connecting;
mod faults;
#[cfg(feature = "candle")]
mod llama;
mod scripted;

use safer_instruct::backends::openai::{Client, OpenAiModel, OpenAiModelBuilder};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

/// A name that must never be shown anywhere.
const CANARY: &str = "sk-canary-5f3a9c71e2";

/// A completion of a chat, as servers write it.
fn said(text: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(serde_json::json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }))
}

/// A server that lists the model `m`, which `owner` owns.
async fn listing(owner: &str) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/v1/models"))
        .respond_with(ResponseTemplate::new(200).set_body_json(serde_json::json!({
            "object": "list", "data": [{"id": "m", "owned_by": owner}],
        })))
        .mount(&server)
        .await;
    server
}

fn model(server: &MockServer) -> OpenAiModelBuilder {
    OpenAiModel::builder(format!("{}/v1", server.uri()), "m").with_key(CANARY)
}

/// A client with a shorter timeout than users have.
fn hasty() -> Client {
    Client::builder()
        .with_timeout(std::time::Duration::from_millis(300))
        .with_max_response(1 << 16)
        .build()
        .unwrap()
}
