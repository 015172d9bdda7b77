//! A judge, a filter, a backend and a service of another crate: public items only, and no dependency that the crate
//! does not ask for.

mod service;

use std::sync::Arc;

use async_trait::async_trait;
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Decision, Draft, Error, Filter, FinishReason, Instruction,
    Judgement, ModelId, PreferenceJudge, Prompt, Response, Result, SourceText, Usage, Verdict,
};

pub use service::PairService;

/// Prefers the response with fewer exclamation marks.
#[derive(Debug, Default)]
pub struct Calmer;

#[async_trait]
impl PreferenceJudge for Calmer {
    async fn judge(&self, _: &Instruction, first: &Response, second: &Response) -> Result<Judgement> {
        let loudness = |response: &Response| response.text().matches(['!', '!']).count();
        Ok(Judgement::new(match loudness(first).cmp(&loudness(second)) {
            std::cmp::Ordering::Less => Verdict::First,
            std::cmp::Ordering::Greater => Verdict::Second,
            std::cmp::Ordering::Equal => Verdict::Tie,
        }))
    }
}

/// Drops texts without a letter.
#[derive(Debug, Default)]
pub struct HasLetters;

#[async_trait]
impl Filter<SourceText> for HasLetters {
    async fn assess(&self, source: &SourceText) -> Result<Decision> {
        let any = source.text().chars().any(char::is_alphabetic);
        Ok(if any { Decision::Keep } else { Decision::drop("no_letters") })
    }
}

/// Drops responses with a link.
#[derive(Debug, Default)]
pub struct NoLinks;

#[async_trait]
impl Filter<Draft> for NoLinks {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        let link = draft.response()?.text().contains("://");
        Ok(if link { Decision::drop("link") } else { Decision::Keep })
    }
}

/// Repeats a word, a repetition a token.
#[derive(Debug, Default)]
pub struct Parrot;

#[async_trait]
impl ChatModel for Parrot {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        const WORDS: usize = 40;
        if request.max_tokens == 0 {
            return Err(Error::config("max_tokens", "must be at least 1"));
        }
        request.refuse_constraint("parrot")?;
        let count = WORDS.min(request.max_tokens);
        let mut text = "hello ".repeat(count);
        let mut finish_reason =
            if count < WORDS { FinishReason::Length } else { FinishReason::Stop };
        let stops = request.stop.iter().filter(|stop| !stop.is_empty());
        if let Some(end) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
            text.truncate(end);
            finish_reason = FinishReason::Stop;
        }
        let read = match &request.prompt {
            Prompt::Raw(text) => text.len(),
            Prompt::Chat(messages) | Prompt::Unfinished(messages) => {
                messages.iter().map(|message| message.content.len() + 1).sum()
            }
        };
        let usage = Usage {
            prompt_tokens: read as u64,
            completion_tokens: text.split_whitespace().count() as u64,
        };
        Ok(Completion::new(text, finish_reason, usage, Arc::new(ModelId::new("parrot"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};
    use safer_instruct::{Pipeline, induce_fn, respond_fn, testkit};

    testkit::judge_laws!(calmer, Calmer);
    testkit::judge_laws!(calmer_as_a_trait_object, Arc::new(Calmer) as Arc<dyn PreferenceJudge>);
    testkit::filter_tests!(has_letters, SourceText, HasLetters);
    testkit::filter_tests!(no_links, Draft, NoLinks);
    testkit::chat_laws!(parrot, Parrot);
    testkit::pipeline_laws!(pipeline, async |texts: Vec<SourceText>, concurrency: usize| {
        let pipeline = Pipeline::new(
            induce_fn(|_| async { Ok(Instruction::new("Who wants to hear it?")) }),
            respond_fn(|_| async { Ok(Response::new("Many do.")) }),
            Calmer,
        );
        pipeline
            .with_source_filter(HasLetters)
            .with_response_filter(NoLinks)
            .with_concurrency(concurrency)
            .run(stream::iter(texts))
            .collect()
            .await
    });
}
