//! Long runs against paid models: a durable journal, budgets, progress, and a runner that goes on where it was.
//!
//! A [`Journal`] is one SQLite file a run. It holds every outcome and every answer of the models that it [records](Journal::record), so a run that
//! was killed, cut off from power or out of disk space goes on without losing or paying twice for anything but what was in
//! flight. A [`Runner`] drives a [`Pipeline`](crate::Pipeline) with it, and [`export`] makes of it the folder that
//! [`RunWriter`](crate::dataset::RunWriter) would have written.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use futures::{StreamExt, executor::block_on, stream};
//! use safer_instruct::{
//!     Judgement, Pipeline, SourceText, judge_fn, run::{Budget, End, Journal, Price, Runner, Status},
//!     stages::{ChatInduction, ExpertResponse},
//! };
//! # use std::sync::Arc;
//! # use safer_instruct::{Completion, FinishReason, ModelId, Usage, complete_fn};
//! # let paid_model = complete_fn(|_| async {
//! #     let usage = Usage { prompt_tokens: 100, completion_tokens: 10 };
//! #     Ok(Completion::new("Say what you need.", FinishReason::Stop, usage, Arc::new(ModelId::new("m"))))
//! # });
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("run.sqlite");
//!
//! let manifest = serde_json::json!({"input": "posts.jsonl", "model": "m", "seed": 7});
//! let mut journal = if path.exists() {
//!     Journal::open(&path, manifest)?
//! } else {
//!     Journal::create(&path, manifest)?
//! };
//! // Money is counted in millionths: at most 5 dollars.
//! block_on(journal.set_budget(Budget::new().with_money(5_000_000)))?;
//! let model = journal.record(paid_model, "m").with_price(Price::per_million(500_000, 1_500_000));
//! let pipeline = Pipeline::new(
//!     ChatInduction::new(&model),
//!     ExpertResponse::new(&model),
//!     judge_fn(|_, _, _| async { Ok(Judgement::first()) }),
//! );
//!
//! let texts = (0..3).map(|n| Ok(SourceText::new(format!("post-{n}"), format!("Never ask for anything, part {n}."))));
//! let begun = Instant::now();
//! // With tokio the last argument would be `tokio::time::sleep`.
//! let report = block_on(
//!     Runner::new(&mut journal, &pipeline, || begun.elapsed(), |_: Duration| std::future::pending())
//!         .with_total(3)
//!         .with_observer(|progress| println!("{} of {:?}", progress.done, progress.total))
//!         .run(stream::iter(texts)),
//! )?;
//! assert_eq!((report.end, report.progress.done), (End::Complete, 3));
//! let summary = journal.export(dir.path().join("out"))?;
//! assert_eq!(summary.read(), 3);
//! // Any process may look into it meanwhile.
//! assert_eq!(Status::read(&path)?.in_flight, 0);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Only calls of recorded models are replayed. A stage that costs or that does not give the same result twice belongs behind one.

mod budget;
mod drive;
mod export;
mod journal;
mod manifest;
mod planted;
mod progress;
mod recorded;
mod runner;
mod schema;
mod sources;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod trouble;
mod worker;

pub use budget::{Budget, Limit, Price, Spent};
pub use export::export;
pub use journal::Journal;
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub use planted::Planted;
pub use progress::{End, Progress, Report};
pub use recorded::Recorded;
pub use runner::Runner;
pub use status::Status;
