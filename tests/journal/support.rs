//! A pipeline over a model that is counted, and what the journal says of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{Stream, executor::block_on, stream};
use rusqlite::{Connection, OpenFlags};
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Continuation, Decision, Error, FinishReason,
    InstructionGenerator, ModelId, OrderedFilter, Pipeline, PreferenceJudge, PreferencePair,
    ResponseGenerator, Result, ScoreRequest, Scores, ScoringModel, SourceText, Usage,
    filters::Distinct,
    judges::LikelihoodJudge,
    run::{Journal, Price, RunReport, Runner},
    stages::{ChatInduction, ExpertResponse},
};
use serde::Serialize;
use serde_json::json;

/// Tokens of a call: each costs 10 + 2 · 5 = 20 millionths.
pub(crate) const USAGE: Usage = Usage {
    prompt_tokens: 10,
    completion_tokens: 2,
};
pub(crate) const COST: u64 = 20;
pub(crate) const DRAWS: u32 = 2;

pub(crate) fn price() -> Price {
    Price::per_million(1_000_000, 5_000_000)
}

pub(crate) fn manifest() -> serde_json::Value {
    json!({"model": {"name": "counted"}, "seed": 7})
}

/// A model whose answers follow from the request. It counts its calls, ends them at the second poll, and fails where it
/// is told to.
#[derive(Clone, Default)]
pub(crate) struct Counted(Arc<Inner>);

/// Gets `begin` or `end` and the key of the call.
type Told = dyn Fn(&str, &str) + Send + Sync;

#[derive(Default)]
struct Inner {
    calls: Mutex<BTreeMap<String, u32>>,
    fails: AtomicBool,
    hangs: AtomicBool,
    /// How many calls the credit of the account pays; 0 is any number.
    credit: AtomicU32,
    told: Option<Box<Told>>,
}

impl Counted {
    /// Tells the beginning and the end of each call, with its key.
    pub(crate) fn telling(told: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            told: Some(Box::new(told)),
            ..Inner::default()
        }))
    }

    /// Whether requests with the word `wobbly` are answered with an error.
    pub(crate) fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::SeqCst);
    }

    /// Whether calls that begin from now on never end.
    pub(crate) fn hang(&self, hangs: bool) {
        self.0.hangs.store(hangs, Ordering::SeqCst);
    }

    /// Sets how many calls the credit of the account pays.
    pub(crate) fn with_credit(self, calls: u32) -> Self {
        self.0.credit.store(calls, Ordering::SeqCst);
        self
    }

    /// Calls that were made.
    pub(crate) fn calls(&self) -> u32 {
        self.0.calls.lock().unwrap().values().sum()
    }

    /// The most calls that were made with one request.
    pub(crate) fn most(&self) -> u32 {
        self.0
            .calls
            .lock()
            .unwrap()
            .values()
            .copied()
            .max()
            .unwrap_or(0)
    }

    async fn call(&self, verb: &str, request: &impl Serialize) -> Result<u64> {
        let json = serde_json::to_string(request).unwrap();
        let key = key(verb, "counted", &json);
        *self.0.calls.lock().unwrap().entry(key.clone()).or_default() += 1;
        if let Some(told) = &self.0.told {
            told("begin", &key);
        }
        if self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        pause().await;
        let credit = self.0.credit.load(Ordering::SeqCst);
        if credit > 0 && self.calls() > credit {
            return Err(Error::Refused {
                backend: "counted".to_owned(),
                status: Some(402),
                message: "the account has no credit left".to_owned(),
            });
        }
        if self.0.fails.load(Ordering::SeqCst) && json.contains("wobbly") {
            return Err(Error::Transport {
                backend: "counted".to_owned(),
                source: "connection reset".into(),
            });
        }
        if let Some(told) = &self.0.told {
            told("end", &key);
        }
        Ok(u64::from_str_radix(&key[..12], 16).unwrap())
    }
}

/// The key of a call, as docs/decisions/0011 says.
pub(crate) fn key(verb: &str, name: &str, json: &str) -> String {
    blake3::hash(format!("{verb}\0{name}\0{json}").as_bytes())
        .to_hex()
        .to_string()
}

/// Yields, so that other tasks run.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

fn id() -> Arc<ModelId> {
    Arc::new(ModelId::new("counted"))
}

#[async_trait]
impl ChatModel for Counted {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let number = self.call("complete", request).await?;
        // Few enough that some pairs are duplicates.
        let text = format!("What about number {}?", number % 12);
        Ok(Completion::new(text, FinishReason::Stop, USAGE, id()))
    }
}

#[async_trait]
impl ScoringModel for Counted {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        let number = self.call("score", request).await?;
        let continuations = (1..=request.continuations.len() as u64)
            .map(|place| Continuation {
                // A number that no short decimal fraction equals.
                logprob: -((number / place % 1_000) as f64).sqrt() / 7.0,
                tokens: 1,
            })
            .collect();
        Ok(Scores {
            continuations,
            usage: USAGE,
            model: id(),
        })
    }
}

/// With filters that remember texts and pairs, and two draws.
pub(crate) fn pipeline<M: ChatModel + ScoringModel + Clone>(
    model: M,
) -> Pipeline<impl InstructionGenerator, impl ResponseGenerator, impl PreferenceJudge> {
    let sampling = safer_instruct::Sampling {
        temperature: 1.0,
        ..Default::default()
    };
    Pipeline::new(
        ChatInduction::new(model.clone()).with_sampling(sampling),
        ExpertResponse::new(model.clone()),
        LikelihoodJudge::new(model),
    )
    .with_on_source_wins(safer_instruct::OnSourceWins::Flip)
    .with_ordered_source_filter(Distinct::new)
    .with_ordered_pair_filter(Fifth::default)
    .with_ordered_pair_filter(Distinct::new)
    .with_draws(DRAWS)
    .with_concurrency(6)
    .with_seed(7)
}

/// Drops each fifth pair, so that it must have seen those that it or a later filter dropped.
#[derive(Default)]
struct Fifth(u32);

impl OrderedFilter<PreferencePair> for Fifth {
    fn assess_next(&mut self, _: &PreferencePair) -> Decision {
        self.0 += 1;
        if self.0.is_multiple_of(5) {
            Decision::drop("fifth")
        } else {
            Decision::Keep
        }
    }
}

/// Some are duplicates, and some are `wobbly`.
pub(crate) fn texts(count: usize) -> Vec<SourceText> {
    (0..count)
        .map(|n| {
            let text = match n % 10 {
                3 => format!("Your chair {n} is a wobbly one."),
                7 => format!("Nobody asked you, part {}.", n - 1),
                _ => format!("Nobody asked you, part {n}."),
            };
            SourceText::new(format!("post-{n}"), text)
        })
        .collect()
}

pub(crate) fn stream_of(texts: Vec<SourceText>) -> impl Stream<Item = Result<SourceText>> {
    stream::iter(texts.into_iter().map(Ok))
}

/// A clock that does not move.
pub(crate) fn no_time() -> Duration {
    Duration::ZERO
}

pub(crate) fn never(_: Duration) -> std::future::Pending<()> {
    std::future::pending()
}

/// Runs until it ends.
pub(crate) fn run(
    journal: &mut Journal,
    model: &Counted,
    texts: Vec<SourceText>,
) -> Result<RunReport> {
    let model = journal.record(model.clone(), "counted").with_price(price());
    let pipeline = pipeline(&model);
    block_on(Runner::new(journal, &pipeline, no_time, never).run(stream_of(texts)))
}

/// A second connection, as another process would have it.
pub(crate) fn reader(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

pub(crate) fn number(path: &Path, sql: &str) -> u64 {
    reader(path).query_row(sql, [], |row| row.get(0)).unwrap()
}

pub(crate) fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    (folder, path)
}

/// The four files of an export.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, String> {
    [
        "pairs.jsonl",
        "dropped.jsonl",
        "failed.jsonl",
        "summary.json",
    ]
    .into_iter()
    .map(|name| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        (name.to_owned(), text)
    })
    .collect()
}

/// What an undisturbed run exports.
pub(crate) fn undisturbed(count: usize) -> BTreeMap<String, String> {
    let (folder, path) = folder();
    let mut journal = Journal::create(path, manifest()).unwrap();
    run(&mut journal, &Counted::default(), texts(count)).unwrap();
    let out = folder.path().join("out");
    journal.export(&out).unwrap();
    files(&out)
}

/// Executors with several threads ask for it.
pub(crate) fn can_be_spawned<F: Future + Send>(future: F) -> F {
    future
}
