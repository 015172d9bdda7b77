//! Batches over a server that keeps count.

mod crashes;
mod faults;
mod files;
mod folder;
mod laws;
mod round_trip;
mod server;

use std::{future::poll_fn, path::Path, task::Poll, time::Duration};

use futures::future::join_all;
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Error, Message, Result,
    backends::openai::{
        OpenAiModel,
        batch::{BatchModel, BatchModelBuilder},
    },
};
use server::Server;

use crate::CANARY;

/// Time that passes at once, but only after other tasks have run.
fn soon(_: Duration) -> impl Future<Output = ()> + Send + 'static {
    let mut waited = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

fn plain(base: &str) -> OpenAiModel {
    OpenAiModel::builder(base, "m")
        .with_key(CANARY)
        .build()
        .unwrap()
}

fn builder(server: &Server, folder: &Path) -> BatchModelBuilder {
    BatchModel::builder(plain(&server.base()), folder).with_sleep(soon)
}

/// A request that the server answers with its own words, or as they say.
fn ask(words: impl Into<String>) -> ChatRequest {
    ChatRequest::new(vec![Message::user(words.into())])
}

async fn all(model: &BatchModel, requests: &[ChatRequest]) -> Vec<Result<Completion>> {
    join_all(requests.iter().map(|request| model.complete(request))).await
}

/// The texts, or the reports of the errors, which hold neither the key nor a text.
fn told(completions: Vec<Result<Completion>>) -> Vec<String> {
    let told = completions.into_iter().map(|completion| match completion {
        Ok(completion) => completion.text,
        Err(error) => shown(&error),
    });
    told.collect()
}

fn shown(error: &Error) -> String {
    let shown = format!("{} {error:?}", error.report());
    assert!(
        !shown.contains("kettle") && !shown.contains("canary"),
        "{shown}"
    );
    error.report()
}
