//! The pipeline inside an async service: texts come in through a queue, a task works on them, pairs come out.
//!
//! ```text
//! cargo run --example embedded
//! ```
//!
//! The crate itself knows no runtime; time comes in as `tokio::time::sleep`. The model is a closure, so nothing is downloaded.
#![allow(clippy::print_stdout)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Decorate, DynPipeline, Error, FinishReason, Judgement,
    ModelId, Outcome, Pipeline, Prompt, Response, Result, RetryPolicy, SourceText, Usage,
    complete_fn,
    filters::{Distinct, NotCanned, SameLanguage},
    judge_fn,
    stages::{ExpertResponse, ReversedInduction},
};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

/// A service that others submit texts to.
struct PairService {
    texts: mpsc::Sender<SourceText>,
    worker: JoinHandle<()>,
}

impl PairService {
    /// Starts the worker. Its outcomes come out of the receiver, in the order in which the texts went in.
    fn start(pipeline: DynPipeline) -> (Self, mpsc::Receiver<Outcome>) {
        let (texts, mut queue) = mpsc::channel(64);
        let (finished, outcomes) = mpsc::channel(64);
        let worker = tokio::spawn(async move {
            let texts = stream::poll_fn(move |context| queue.poll_recv(context));
            let mut outcomes = Box::pin(pipeline.run(texts));
            while let Some(outcome) = outcomes.next().await {
                // Nobody listens any more: dropping the stream cancels what is in flight.
                if finished.send(outcome).await.is_err() {
                    break;
                }
            }
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
    async fn finish(self) -> Result<()> {
        drop(self.texts);
        self.worker
            .await
            .map_err(|error| Error::Other(error.into()))
    }
}

/// A model as it may be behind a network: each third call fails, and succeeds if it is tried again.
fn model() -> impl ChatModel + Clone + 'static {
    let calls = Arc::new(AtomicU32::new(0));
    let id = Arc::new(ModelId::new("closure"));
    let model = complete_fn(move |request: ChatRequest| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let model = Arc::clone(&id);
        async move {
            sleep(Duration::from_millis(20)).await;
            if call % 3 == 2 {
                let source = "connection reset".into();
                return Err(Error::Transport {
                    backend: "closure".to_owned(),
                    source,
                });
            }
            let text = match request.prompt {
                Prompt::Raw(_) => " Is it too late for me to learn the piano?",
                Prompt::Chat(_) | Prompt::Unfinished(_) => {
                    "No. Begin with ten minutes a day and a song that you like."
                }
            };
            Ok(Completion::new(
                text,
                FinishReason::Stop,
                Usage::default(),
                model,
            ))
        }
    });
    let policy = RetryPolicy {
        base: Duration::from_millis(10),
        ..RetryPolicy::default()
    };
    // From the inside out: a try has a second, a call has several tries, and four calls run at once.
    Arc::new(
        model
            .with_timeout(Duration::from_secs(1), sleep)
            .with_retry(policy, sleep)
            .with_concurrency_limit(4),
    )
}

fn pipeline() -> DynPipeline {
    let model = model();
    let kinder = judge_fn(|_, first: Response, _| async move {
        let kind = first.text().starts_with("No. Begin");
        Ok(if kind {
            Judgement::first()
        } else {
            Judgement::second()
        })
    });
    Pipeline::new(
        ReversedInduction::new(model.clone()),
        ExpertResponse::new(model),
        kinder,
    )
    .boxed()
    .with_ordered_source_filter(Distinct::new)
    .with_instruction_filter(SameLanguage)
    .with_response_filter(NotCanned::new())
}

#[tokio::main]
async fn main() -> Result<()> {
    let (service, mut outcomes) = PairService::start(pipeline());
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
    // Both at once: a full queue of outcomes that nobody takes would hold up the worker.
    let (finished, ()) = tokio::join!(service.finish(), async {
        while let Some(outcome) = outcomes.recv().await {
            print(&outcome);
        }
    });
    finished
}

fn print(outcome: &Outcome) {
    let id = outcome.lineage().source_id();
    match outcome {
        Outcome::Kept(pair) => println!("{id}: {} -> {}", pair.prompt, pair.chosen),
        Outcome::Dropped { stage, reason, .. } => println!("{id}: dropped at {stage}: {reason}"),
        Outcome::Failed { stage, error, .. } => {
            println!("{id}: failed at {stage}: {}", error.report());
        }
    }
}
