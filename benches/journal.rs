//! What a store costs: stages that cost nothing, without one, with a folder and with a journal.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use divan::{Bencher, counter::ItemsCount};
use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    ChatModel, ChatRequest, Completion, FinishReason, Instruction, Judgement, ModelId, Pipeline,
    PreferenceJudge, Prompt, Response, SourceText, Usage, complete_fn,
    dataset::Existing,
    induce_fn, judge_fn, respond_fn,
    run::{FolderStore, Journal, Runner},
};

const TEXTS: usize = 20_000;

fn main() {
    divan::main();
}

fn texts() -> impl Iterator<Item = SourceText> {
    (0..TEXTS).map(|n| SourceText::new(n.to_string(), "You will never learn it."))
}

fn judge() -> impl PreferenceJudge {
    judge_fn(|_, first: Response, _| async move {
        Ok(if first.text().starts_with("Keep") {
            Judgement::first()
        } else {
            Judgement::second()
        })
    })
}

fn journal(folder: &tempfile::TempDir) -> Journal {
    let path = folder.path().join("run.sqlite");
    Journal::create(path, serde_json::Value::Null).unwrap()
}

fn never(_: Duration) -> std::future::Pending<()> {
    std::future::pending()
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn without(bencher: Bencher<'_, '_>) {
    let pipeline = Pipeline::new(
        induce_fn(|_| async { Ok(Instruction::new("What do you say to a beginner?")) }),
        respond_fn(|_| async { Ok(Response::new("Keep at it.")) }),
        judge(),
    );
    bencher.counter(ItemsCount::new(TEXTS)).bench_local(|| {
        block_on(
            pipeline
                .run(stream::iter(texts()))
                .map(drop)
                .collect::<Vec<()>>(),
        )
    });
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn outcomes(bencher: Bencher<'_, '_>) {
    let pipeline = Pipeline::new(
        induce_fn(|_| async { Ok(Instruction::new("What do you say to a beginner?")) }),
        respond_fn(|_| async { Ok(Response::new("Keep at it.")) }),
        judge(),
    );
    bencher
        .counter(ItemsCount::new(TEXTS))
        .with_inputs(|| tempfile::tempdir().unwrap())
        .bench_local_refs(|folder| {
            let mut journal = journal(folder);
            let begun = Instant::now();
            let runner = Runner::new(&mut journal, &pipeline, || begun.elapsed(), never);
            block_on(runner.run(stream::iter(texts().map(Ok)))).unwrap()
        });
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn outcomes_in_a_folder(bencher: Bencher<'_, '_>) {
    let pipeline = Pipeline::new(
        induce_fn(|_| async { Ok(Instruction::new("What do you say to a beginner?")) }),
        respond_fn(|_| async { Ok(Response::new("Keep at it.")) }),
        judge(),
    );
    bencher
        .counter(ItemsCount::new(TEXTS))
        .with_inputs(|| tempfile::tempdir().unwrap())
        .bench_local_refs(|folder| {
            let manifest = serde_json::Value::Null;
            let mut store = FolderStore::open(folder.path(), manifest, Existing::Refuse).unwrap();
            let begun = Instant::now();
            let runner = Runner::new(&mut store, &pipeline, || begun.elapsed(), never);
            block_on(runner.run(stream::iter(texts().map(Ok)))).unwrap()
        });
}

/// One recorded call a text, 64 at once.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn outcomes_and_calls(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(TEXTS))
        .with_inputs(|| tempfile::tempdir().unwrap())
        .bench_local_refs(|folder| {
            let mut journal = journal(folder);
            let id = Arc::new(ModelId::new("free"));
            let model = Arc::new(journal.record(
                complete_fn(move |_: ChatRequest| {
                    let id = Arc::clone(&id);
                    async move {
                        let usage = Usage::default();
                        Ok(Completion::new("What then?", FinishReason::Stop, usage, id))
                    }
                }),
                "free",
            ));
            let pipeline = Pipeline::new(
                induce_fn(move |source: SourceText| {
                    let model = Arc::clone(&model);
                    async move {
                        let prompt = Prompt::Raw(source.id().to_owned());
                        let completion = model.complete(&ChatRequest::new(prompt)).await?;
                        Ok(Instruction::new(completion.text))
                    }
                }),
                respond_fn(|_| async { Ok(Response::new("Keep at it.")) }),
                judge(),
            )
            .with_concurrency(64);
            let begun = Instant::now();
            let runner = Runner::new(&mut journal, &pipeline, || begun.elapsed(), never);
            block_on(runner.run(stream::iter(texts().map(Ok)))).unwrap()
        });
}
