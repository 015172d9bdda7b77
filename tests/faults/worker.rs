//! The process that is killed: goes on with a run, prints what is reported as durable, and stops at one point.

use std::{
    env, fmt,
    io::Write,
    path::PathBuf,
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{executor::block_on, stream};
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Decision, Decorate, InstructionGenerator, OnSourceWins,
    OrderedFilter, Pipeline, PreferenceJudge, PreferencePair, Prompt, ResponseGenerator, Result,
    RetryPolicy, Sampling, Sleep, SourceText,
    backends::openai::{Client, OpenAiModel, Server},
    dataset::Existing,
    filters::Distinct,
    judges::PairwiseJudge,
    run::{FolderStore, Journal, Price, RunStore, Runner, export},
    stages::{ChatInduction, ExpertResponse},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{Metadata, Subscriber, field, span};

use crate::{
    bugs::{Bug, Faulty},
    server::{self, CANARY},
};

/// Holds an [`Order`] as JSON.
pub(crate) const ORDER: &str = "SAFER_INSTRUCT_FAULTS";
pub(crate) const CONCURRENCY: usize = 6;
pub(crate) const DRAWS: u32 = 2;
const TEXTS: usize = 40;
/// Waits are shorter by this factor.
const HASTE: u32 = 1_000;

/// Where a worker keeps its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Store {
    #[default]
    Journal,
    Folder,
}

/// What a worker is to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) folder: PathBuf,
    pub(crate) store: Store,
    pub(crate) url: String,
    /// The point at which it stops, and at which visit.
    pub(crate) point: Option<(String, u64)>,
    pub(crate) bug: Option<Bug>,
    /// Without the filter that remembers pairs.
    pub(crate) plain: bool,
    /// Works on the failed texts.
    pub(crate) retry: bool,
    /// Gives one text that is another than before.
    pub(crate) changed: bool,
    pub(crate) timeout: Option<Duration>,
}

#[test]
#[ignore = "it is started by the tests"]
fn worker() {
    let Ok(order) = env::var(ORDER) else {
        return;
    };
    let order: Order = serde_json::from_str(&order).unwrap();
    if let Some(bug) = order.bug {
        bug.plant();
    }
    if let Some((point, time)) = order.point.clone() {
        // A bug has more time to show itself, also on a busy machine.
        let moment = Duration::from_millis(if order.bug.is_some() { 20 } else { 2 });
        POINT.set((point, AtomicU64::new(time), moment)).unwrap();
        tracing::subscriber::set_global_default(Events).unwrap();
    }
    if let Err(error) = work(&order) {
        say(&format!("error {}", error.report()));
        process::exit(1);
    }
    say("end");
}

fn work(order: &Order) -> Result<()> {
    let client = Client::builder()
        .with_timeout(order.timeout.unwrap_or(Duration::from_secs(600)))
        .build()?;
    let begun = Instant::now();
    let sleep = {
        let client = client.clone();
        move |wait: Duration| client.sleep(wait / HASTE)
    };
    let model = OpenAiModel::builder(&order.url, "served")
        .with_key(CANARY)
        .with_server(Server::Other)
        .with_transport(client)
        .with_clock(move || begun.elapsed() * HASTE)
        .with_sleep(sleep.clone())
        .build()?;
    let (store, model): (Box<dyn RunStore>, Arc<dyn ChatModel>) = match order.store {
        Store::Journal => {
            let journal = Journal::open_or_create(order.folder.join("run.sqlite"), manifest())?;
            let recorded = journal.record(Inner(model), "served").with_price(price());
            (Box::new(journal), Arc::new(recorded))
        }
        Store::Folder => {
            let store = FolderStore::open(&order.folder, manifest(), Existing::Resume)?;
            (Box::new(store), Arc::new(Inner(model)))
        }
    };
    say("open");
    let mut store = Faulty {
        bug: order.bug,
        store,
    };
    let policy = RetryPolicy {
        max_attempts: 8,
        ..RetryPolicy::default()
    };
    let model = Arc::new(Outer(model).with_retry(policy, sleep));
    let pipeline = pipeline(model, order.plain);
    let mut done = store.tally().done();
    let runner = Runner::new(
        &mut store,
        &pipeline,
        || Duration::ZERO,
        |_| std::future::pending::<()>(),
    )
    .with_observer(|progress| say(&format!("done {}", progress.done)))
    // What is given out is acknowledged, too.
    .with_outcomes(|_| {
        done += u64::from(!order.retry);
        say(&format!("done {done}"));
    });
    let texts = stream::iter(texts(order.changed).into_iter().map(Ok));
    let report = if order.retry {
        block_on(runner.retry(texts))?
    } else {
        block_on(runner.run(texts))?
    };
    say(&format!("failed {}", report.progress.failed));
    if order.store == Store::Journal {
        export(order.folder.join("run.sqlite"), order.folder.join("out"))?;
    }
    Ok(())
}

fn manifest() -> serde_json::Value {
    json!({"model": {"name": "served"}, "seed": 7})
}

/// A call costs 10 + 2 · 5 = 20 millionths.
pub(crate) const COST: u64 = 20;

fn price() -> Price {
    Price::per_million(1_000_000, 5_000_000)
}

/// Some are duplicates.
pub(crate) fn texts(changed: bool) -> Vec<SourceText> {
    (0..TEXTS)
        .map(|n| {
            let text = match n {
                3 if changed => "Somebody asked you after all.".to_owned(),
                _ if n % 10 == 7 => format!("Nobody asked you, part {}.", n - 1),
                _ => format!("Nobody asked you, part {n}."),
            };
            SourceText::new(format!("post-{n}"), text)
        })
        .collect()
}

fn pipeline<M: ChatModel + Clone>(
    model: M,
    plain: bool,
) -> Pipeline<impl InstructionGenerator, impl ResponseGenerator, impl PreferenceJudge> {
    let sampling = Sampling {
        temperature: 1.0,
        ..Sampling::default()
    };
    Pipeline::new(
        ChatInduction::new(model.clone()).with_sampling(sampling),
        ExpertResponse::new(model.clone()),
        PairwiseJudge::new(model),
    )
    .with_on_source_wins(OnSourceWins::Flip)
    .with_ordered_source_filter(Distinct::new)
    .with_ordered_pair_filter(move || Memory {
        plain,
        ..Memory::default()
    })
    .with_ordered_pair_filter(move || Fifth { plain, count: 0 })
    .with_draws(DRAWS)
    .with_concurrency(CONCURRENCY)
    .with_seed(7)
}

/// Drops duplicates.
#[derive(Default)]
struct Memory {
    plain: bool,
    seen: Distinct,
}

impl OrderedFilter<PreferencePair> for Memory {
    fn assess_next(&mut self, pair: &PreferencePair) -> Decision {
        if self.plain {
            return Decision::Keep;
        }
        self.seen.assess_next(pair)
    }
}

/// Drops each fifth pair, so that it must have seen those that it dropped.
struct Fifth {
    plain: bool,
    count: u32,
}

impl OrderedFilter<PreferencePair> for Fifth {
    fn assess_next(&mut self, _: &PreferencePair) -> Decision {
        self.count += 1;
        if !self.plain && self.count.is_multiple_of(5) {
            return Decision::drop("fifth");
        }
        Decision::Keep
    }
}

/// Between the store and the server.
struct Inner(OpenAiModel);

#[async_trait]
impl ChatModel for Inner {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        at("calling");
        let answer = self.0.complete(request).await;
        at("answered");
        answer
    }
}

/// Before the store. What a journal gives out is acknowledged.
struct Outer<M>(M);

#[async_trait]
impl<M: ChatModel> ChatModel for Outer<M> {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        at("asking");
        let answer = self.0.complete(request).await?;
        let (Prompt::Chat(said) | Prompt::Unfinished(said)) = &request.prompt else {
            panic!("a chat is asked for");
        };
        let seed = request.sampling.seed;
        let id = server::id(
            said.iter().map(|message| message.content.as_ref()),
            (seed ^ (seed >> 32)) & 0x7fff_ffff,
        );
        say(&format!("answer {id}"));
        at("recorded");
        Ok(answer)
    }
}

/// The point at which it stops, at which visit, and for how long the other threads go on, as they may before a kill.
static POINT: OnceLock<(String, AtomicU64, Duration)> = OnceLock::new();

/// Stops here, if it is told to.
fn at(name: &str) {
    let Some((point, times, moment)) = POINT.get() else {
        return;
    };
    if point == name && times.fetch_sub(1, Ordering::SeqCst) == 1 {
        thread::sleep(*moment);
        say(&format!("at {name}"));
        loop {
            thread::park();
        }
    }
}

/// One line, at once.
fn say(what: &str) {
    // If the harness no longer reads, it has killed this process.
    let _ = std::io::stdout().write_all(format!("{what}\n").as_bytes());
}

/// The points that a store itself reports.
struct Events;

struct Message;

impl field::Visit for Message {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            at(&format!("{value:?}"));
        }
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let targets = ["safer_instruct::run", "safer_instruct::files"];
        let ours = targets
            .iter()
            .any(|target| metadata.target().starts_with(target));
        ours && metadata.is_event()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Message);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
