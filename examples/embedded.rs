//! The pipeline inside an async service: texts come in through a queue, a task works on them, and pairs are written to
//! a folder.
//!
//! ```text
//! cargo run --example embedded
//! ```
//!
//! Run it twice: what is in the folder is not made again. The crate itself knows no runtime; time comes in as
//! `tokio::time::sleep`. The stages are closures, so nothing is downloaded.
#![allow(clippy::print_stdout)]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use safer_instruct::{
    Decorate, DynPipeline, Error, Instruction, Judgement, Outcome, Pipeline, Response, Result,
    RetryPolicy, SourceText,
    dataset::Existing,
    filters::{Distinct, NotCanned},
    induce_fn, judge_fn, respond_fn,
    run::{FolderStore, RunReport, Runner},
};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

/// A service that others submit texts to. After a restart they submit the same texts again: those that are done are
/// skipped.
struct PairService {
    texts: mpsc::Sender<SourceText>,
    worker: JoinHandle<Result<RunReport>>,
}

impl PairService {
    /// Starts the worker. The receiver gives new outcomes in the order of their texts, each when it is on the disk.
    fn start(pipeline: DynPipeline, folder: PathBuf) -> (Self, mpsc::UnboundedReceiver<Outcome>) {
        let (texts, mut queue) = mpsc::channel(64);
        let (finished, outcomes) = mpsc::unbounded_channel();
        let worker = tokio::spawn(async move {
            let manifest = serde_json::json!({"service": "embedded", "stages": "closures"});
            let open = || FolderStore::open(folder, manifest, Existing::Resume);
            let mut store = tokio::task::block_in_place(open)?;
            let begun = Instant::now();
            Runner::new(&mut store, &pipeline, || begun.elapsed(), sleep)
                .with_outcomes(|outcome| drop(finished.send(outcome)))
                .run(stream::poll_fn(move |context| queue.poll_recv(context)).map(Ok))
                .await
        });
        (Self { texts, worker }, outcomes)
    }

    /// Waits while the queue is full.
    async fn submit(&self, text: SourceText) -> Result<()> {
        let stopped = |error: mpsc::error::SendError<_>| Error::Stopped {
            backend: "pair service".to_owned(),
            reason: error.to_string(),
        };
        self.texts.send(text).await.map_err(stopped)
    }

    /// Takes no more texts and waits for the outcomes of those that were submitted.
    async fn finish(self) -> Result<RunReport> {
        drop(self.texts);
        let joined = self.worker.await;
        joined.map_err(|error| Error::Other(error.into()))?
    }
}

/// Stages of your own. A network is slow, and may need a second try.
fn pipeline() -> DynPipeline {
    let induce = induce_fn(|_| async {
        sleep(Duration::from_millis(20)).await;
        Ok(Instruction::new(
            "Is it too late for me to learn the piano?",
        ))
    });
    let respond = respond_fn(|_| async {
        sleep(Duration::from_millis(20)).await;
        Ok(Response::new("No. Begin with ten minutes a day."))
    });
    let kinder = judge_fn(|_, first: Response, _| async move {
        let kind = first.text().starts_with("No. Begin");
        Ok(if kind {
            Judgement::first()
        } else {
            Judgement::second()
        })
    });
    let respond = respond
        .with_timeout(Duration::from_secs(1), sleep)
        .with_retry(RetryPolicy::default(), sleep);
    Pipeline::new(induce, respond, kinder)
        .boxed()
        .with_ordered_source_filter(Distinct::new)
        .with_response_filter(NotCanned::new())
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).unwrap_or("out/embedded".into());
    let (service, mut outcomes) = PairService::start(pipeline(), folder.into());
    let texts = [
        "You are far too old to learn the piano. Give it up now.",
        "Beginners of your age never get past the first lesson. Save your money.",
        "you are far too old to learn the piano.  Give it up now.",
    ];
    for (place, text) in texts.into_iter().enumerate() {
        service
            .submit(SourceText::new(format!("post-{place}"), text))
            .await?;
    }
    let report = service.finish().await?;
    while let Some(outcome) = outcomes.recv().await {
        match &outcome {
            Outcome::Kept(pair) => println!("{} -> {}", pair.prompt, pair.chosen),
            other => println!("no pair of {}", other.lineage().source_id()),
        }
    }
    println!("{} outcomes in all", report.progress.done);
    Ok(())
}
