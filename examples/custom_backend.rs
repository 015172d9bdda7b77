//! A backend of your own: a model that goes on with a fixed text, and keeps every law of a chat model.
//!
//! ```text
//! cargo run --features testkit --example custom_backend
//! ```
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Error, FinishReason, Message, ModelId, Prompt, Result,
    Usage, testkit::CHAT_LAWS,
};

/// Repeats a fixed text, one token per character: what a real backend does, without the weights.
struct Reciter {
    text: String,
    id: Arc<ModelId>,
}

impl Reciter {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            id: Arc::new(ModelId::new("reciter")),
        }
    }
}

/// A character a token, and one more for each message.
fn prompt_tokens(prompt: &Prompt) -> usize {
    match prompt {
        Prompt::Raw(text) => text.chars().count() + 1,
        Prompt::Chat(messages) | Prompt::Unfinished(messages) => messages
            .iter()
            .map(|message| message.content.chars().count() + 1)
            .sum(),
    }
}

#[async_trait]
impl ChatModel for Reciter {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        if request.max_tokens == 0 {
            return Err(Error::config("max_tokens", "must be at least 1"));
        }
        // This model supports no constraint, so it must refuse one.
        request.refuse_constraint(&self.id.name)?;
        // The first stop string that comes ends the text.
        let end = request
            .stop
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| self.text.find(stop.as_str()))
            .min();
        let (whole, _) = self.text.split_at(end.unwrap_or(self.text.len()));
        let text: String = whole.chars().take(request.max_tokens).collect();
        let finish_reason = if text.len() < whole.len() {
            FinishReason::Length
        } else {
            FinishReason::Stop
        };
        let usage = Usage {
            prompt_tokens: prompt_tokens(&request.prompt) as u64,
            completion_tokens: text.chars().count() as u64,
        };
        let model = Arc::clone(&self.id);
        Ok(Completion::new(text, finish_reason, usage, model))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Reciter::new("古池や 蛙飛びこむ 水の音");
    block_on(async {
        let request = ChatRequest::new(vec![Message::user("Recite a poem.")]).with_stop("水");
        let completion = model.complete(&request).await?;
        println!("{:?}: {}", completion.finish_reason, completion.text);
        for law in CHAT_LAWS {
            let checked = law.check(&model).await?;
            println!("{:24} holds in {:3} cases", checked.law, checked.cases);
        }
        Ok(())
    })
}
