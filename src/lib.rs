//! Preference data for alignment, from texts that should not be said.
//!
//! SAFER-INSTRUCT (Shi, Chen and Zhao, arXiv 2311.08685) works in the reverse direction: it begins with a harmful text,
//! *induces* the instruction that the text could answer, lets an expert model *respond* to it well, and lets a *judge*
//! compare the two. What comes out is `{prompt, chosen, rejected}`, which preference trainers read, with the provenance
//! of every part beside it.
//!
//! ```
//! use futures::{StreamExt, executor::block_on, stream};
//! use safer_instruct::{
//!     Instruction, Judgement, Outcome, Pipeline, Response, SourceText, induce_fn, judge_fn, respond_fn,
//! };
//!
//! let pipeline = Pipeline::new(
//!     induce_fn(|_: SourceText| async { Ok(Instruction::new("What do you say to a beginner?")) }),
//!     respond_fn(|_: Instruction| async { Ok(Response::new("Keep at it.")) }),
//!     judge_fn(|_, first: Response, _| async move {
//!         Ok(if first.text().contains("never") { Judgement::second() } else { Judgement::first() })
//!     }),
//! );
//! let texts = stream::iter([SourceText::new("post-1", "You will never learn it.")]);
//! let outcomes: Vec<Outcome> = block_on(pipeline.run(texts).collect());
//!
//! let pair = outcomes[0].pair().unwrap();
//! assert_eq!(pair.prompt, "What do you say to a beginner?");
//! assert_eq!(pair.chosen, "Keep at it.");
//! assert_eq!(pair.rejected, "You will never learn it.");
//! ```
//!
//! # Reading texts
//!
//! [`dataset::Reader`] reads JSONL, CSV, plain text and folders, compressed or not, one text at a time;
//! [`dataset::into_stream`] makes a stream of any iterator without blocking the executor. A text from anywhere else is
//! a [`SourceText`] with an id: every random choice follows from the id and the seed of the run.
//!
//! # Choosing stages
//!
//! A stage is anything that implements one of three traits with one method each:
//!
//! | trait | does | provided |
//! |---|---|---|
//! | [`InstructionGenerator`] | induces | [`stages::ReversedInduction`] (the paper's), [`stages::ChatInduction`], [`stages::BestOf`] |
//! | [`ResponseGenerator`] | responds | [`stages::ExpertResponse`] |
//! | [`PreferenceJudge`] | judges | [`judges::LikelihoodJudge`], [`judges::PairwiseJudge`] |
//!
//! A type of your own implements one of them under `#[async_trait]`, from the crate `async-trait`; its method is then
//! an `async fn`. A closure is a stage too, by [`induce_fn`], [`respond_fn`] and [`judge_fn`]; so is a reference, a
//! `Box` or an `Arc` of one. [`Pipeline::boxed`] erases the types where they are chosen at run time. The prompts are in
//! [`prompt::built_in`], and every stage takes another one by `with_prompt`.
//!
//! [`profiles`] is the table of known models, and says which form of induction and which judge suit a model.
//!
//! # Judges
//!
//! Models have position bias. [`judges::SwapOrder`] asks any judge in both orders, and the judgement is a tie if the
//! two verdicts differ; [`judges::LikelihoodJudge`] asks in both orders by itself. The pipeline draws the order from
//! the lineage, so no judge can know which response is the expert's. If the judge prefers the source text, the draw is
//! dropped, or the source text becomes `chosen`: see [`OnSourceWins`].
//!
//! # Guards
//!
//! A [`Guard`] finds whether one response is safe, by itself. [`guards::DialectGuard`] asks a guard model, such as
//! Qwen3Guard, Llama Guard or WildGuard, in its own [`guards::Dialect`]; [`guard_fn`] makes a guard of a closure.
//! [`filters::SafeResponse`] and [`filters::UnsafeSource`] filter by any guard. What a guard did not clearly find safe
//! never counts as safe.
//!
//! # Filters
//!
//! A [`Filter`] keeps or drops one item, with a [`Reason`]: a [`SourceText`], or the [`Draft`] that grows from it. The
//! filters of the crate are in [`filters`], and [`filter_fn`] makes one from a closure. An [`OrderedFilter`], such as
//! [`filters::Distinct`], may remember earlier items: it sees them in input order.
//!
//! ```
//! use futures::{StreamExt, executor::block_on, stream};
//! use safer_instruct::{
//!     Instruction, Judgement, Outcome, Pipeline, Response, SourceText,
//!     filters::{Distinct, Length}, induce_fn, judge_fn, respond_fn,
//! };
//!
//! let pipeline = Pipeline::new(
//!     induce_fn(|_| async { Ok(Instruction::new("Can I learn it?")) }),
//!     respond_fn(|_| async { Ok(Response::new("Of course.")) }),
//!     judge_fn(|_, _, _| async { Ok(Judgement::tie()) }),
//! )
//! .with_source_filter(Length::words().with_min(2))
//! .with_ordered_source_filter(Distinct::new);
//!
//! let texts = ["No.", "You never will.", "You never will."];
//! let texts = stream::iter(texts.into_iter().enumerate().map(|(n, t)| SourceText::new(n.to_string(), t)));
//! let outcomes: Vec<Outcome> = block_on(pipeline.run(texts).collect());
//! let reasons: Vec<&str> = outcomes
//!     .iter()
//!     .filter_map(|outcome| match outcome {
//!         Outcome::Dropped { reason, .. } => Some(&*reason.code),
//!         _ => None,
//!     })
//!     .collect();
//! assert_eq!(reasons, ["too_short", "tie", "duplicate"]);
//! ```
//!
//! # Running
//!
//! [`Pipeline::run`] turns a stream of texts into a stream of [`Outcome`]s on any executor: exactly one for each draw,
//! in input order, the same bytes at any concurrency. An error of a stage fails its own draw and no other.
//! [`Pipeline::process`] is the same for one text, and an [`Observer`] is told of progress. [`Decorate`] wraps models
//! and stages: `with_retry`, `with_timeout`, `with_concurrency_limit`, `with_cache`.
//!
//! # Runs
//!
//! A [`run::Runner`] takes texts, a pipeline and a store. It writes pairs, dropped and failed texts, and a summary into
//! a folder ([`run::FolderStore`]), and goes on where it was after a stop, a kill or a full disk. Runs against paid
//! models are kept in a journal instead (`run::Journal`, with the feature `run`), which pays for no answer twice.
//!
//! # Backends
//!
//! A backend implements [`ChatModel`], [`ScoringModel`] or both, and every prompted stage works with it;
//! [`complete_fn`] and [`score_fn`] make one of a closure. [`backends`] holds those that come with the crate.
//! `docs/writing-a-backend.md` is the guide.
//!
//! # Figures
//!
//! [`measure`] holds the numbers about judges, guards and data: areas under ROC curves, agreement, rates corrected for
//! the mistakes of a judge, calibration, diversity, juries; each with its uncertainty. [`audit`] says with them how good
//! a set of pairs is.
//!
//! # Testing your own
//!
//! With the feature `testkit`, the module `testkit` holds the laws that judges, filters, generators, backends and
//! pipelines must keep, one macro for each kind, and doubles to test with. `docs/writing-a-judge.md` is the guide.
//!
//! # Features
//!
//! | feature | adds | by default |
//! |---|---|---|
//! | `candle` | the reference backend on local hardware | no |
//! | `hub` | fetching and checking of model files; part of `candle` | no |
//! | `llguidance` | completions that satisfy a JSON schema, with `candle` | no |
//! | `run` | the journal of a long run against a paid model, with budgets | no |
//! | `train` | tuning of local models, with `candle` | no |
//! | `cuda`, `metal` | a device for `candle` | no |
//! | `openai` | served models by OpenAI's protocol, without an HTTP client | no |
//! | `reqwest` | `openai`, and an HTTP client for it | no |
//! | `batch` | requests to served models in batches, at about half the price, with `openai` | no |
//! | `testkit` | laws and doubles for tests | no |
//! | `full` | `batch`, `candle`, `llguidance`, `reqwest`, `run`, `testkit` and `train` | no |
//!
//! Without features the crate depends on no runtime, no network and no model code.
#![cfg_attr(not(feature = "testkit"), allow(rustdoc::broken_intra_doc_links))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod decorate;
mod error;
mod learn;
mod model;
mod outcome;
mod pipeline;
mod record;
mod stage;
mod text;
#[cfg(feature = "train")]
#[cfg_attr(docsrs, doc(cfg(feature = "train")))]
pub mod train;

pub mod audit;
pub mod backends;
pub mod dataset;
pub mod files;
pub mod filters;
pub mod guards;
#[cfg(feature = "hub")]
pub mod hub;
pub mod judges;
pub mod measure;
pub mod profiles;
pub mod prompt;
pub mod run;
pub mod stages;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use decorate::{Cache, ConcurrencyLimit, Decorate, RetryPolicy, Sleep, Timeout, WithRetry};
pub use error::{BoxError, Cause, Error, Excerpt, Result, Retry};
pub use model::{
    ChatModel, ChatRequest, CompleteFn, Completion, Constraint, Continuation, FinishReason,
    LayerStates, Message, Prompt, Role, Sampling, ScoreFn, ScoreRequest, Scores, ScoringModel,
    StateFn, StateModel, StateRequest, States, TokenLogprob, TopLogprob, complete_fn, score_fn,
    state_fn,
};
pub use outcome::{Decision, Outcome, Reason, Stage};
pub use pipeline::{DynPipeline, Event, Gate, Observer, OnSourceWins, Pipeline};
pub use record::{
    Assessment, Assessments, Draft, Instruction, Judged, Judgement, Lineage, ModelId, Origin,
    PreferencePair, Provenance, Response, Safety, Side, SourceText, Subject, Usage, Verdict,
};
pub use stage::{
    Filter, FilterFn, Guard, GuardFn, InduceFn, InstructionGenerator, JudgeFn, OrderedFilter,
    PreferenceJudge, RespondFn, ResponseGenerator, filter_fn, guard_fn, induce_fn, judge_fn,
    respond_fn,
};

// The snippets of the guides are tests.
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../docs/writing-a-judge.md")]
mod writing_a_judge {}
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../docs/writing-a-backend.md")]
mod writing_a_backend {}
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../docs/guards.md")]
mod guards_guide {}
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
#[cfg(all(
    doctest,
    feature = "batch",
    feature = "candle",
    feature = "reqwest",
    feature = "run"
))]
#[doc = include_str!("../docs/guide.md")]
mod guide {}
#[cfg(all(doctest, feature = "train"))]
#[doc = include_str!("../docs/training.md")]
mod training {}
