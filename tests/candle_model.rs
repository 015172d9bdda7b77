//! The local engine on a real model.
#![cfg(feature = "candle")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod candle_support;

use candle_support::{block_on, model};
use safer_instruct::{ChatModel, ChatRequest, FinishReason, Message};

#[test]
fn it_answers() {
    let request =
        ChatRequest::new(vec![Message::user("What is the capital of France?")]).with_max_tokens(32);
    let completion = block_on(model().complete(&request)).unwrap();
    assert_eq!(completion.text, "The capital of France is Paris.");
    assert_eq!(completion.finish_reason, FinishReason::Stop);
}
