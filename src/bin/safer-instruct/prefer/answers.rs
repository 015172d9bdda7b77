//! The table of how long the answers of a model are.

use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, executor::block_on, stream};
use safer_instruct::{ChatModel, ChatRequest, Message, Result, backends::candle::CandleModel};

/// Most tokens of an answer that is counted.
const MOST: usize = 200;

/// The head of the table.
pub(super) fn header(prompts: usize) -> String {
    format!(
        "| answers to {prompts} held-out prompts | mean tokens | that end by themselves |\n|---|---|---|"
    )
}

/// Answers the prompts, and gives a row of how long the answers are.
pub(super) fn row(
    name: &str,
    model: &Path,
    adapter: Option<&PathBuf>,
    prompts: &[&str],
) -> Result<String> {
    let mut builder = CandleModel::builder(model);
    if let Some(adapter) = adapter {
        builder = builder.with_adapter(adapter);
    }
    let model = builder.load()?;
    let answers = stream::iter(prompts).map(|prompt| {
        let message = Message::user((*prompt).to_owned());
        let request = ChatRequest::new(vec![message]).with_max_tokens(MOST);
        let model = &model;
        async move { model.complete(&request).await }
    });
    let answers: Vec<_> = block_on(answers.buffered(16).try_collect())?;
    let count = answers.len() as f64;
    let tokens = answers
        .iter()
        .map(|answer| answer.usage.completion_tokens)
        .sum::<u64>();
    let ended = answers
        .iter()
        .filter(|answer| answer.usage.completion_tokens < MOST as u64)
        .count();
    Ok(format!(
        "| {name} | {:.1} | {:.0} % |",
        tokens as f64 / count,
        100.0 * ended as f64 / count
    ))
}
