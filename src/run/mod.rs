//! Runs that can be stopped, killed and resumed: a [`Runner`] takes texts, a pipeline and a store.
//!
//! The [`Runner`] drives a [`Pipeline`](crate::Pipeline), writes each outcome into the store in input order, reports
//! progress, and goes on where an earlier session was: texts whose outcomes are there are compared by id and hash and
//! skipped. There are two stores, and [`RunStore`] is what another one implements:
//!
//! | store | is | for |
//! |---|---|---|
//! | [`FolderStore`] | a folder of JSONL files | a local model, whose work costs time alone |
//! | `Journal` (feature `run`) | one SQLite file | a paid model: it also keeps every answer of the models that it records, so that nothing is paid twice, and has budgets, retries and forks |
//!
//! ```
//! use std::time::{Duration, Instant};
//! use futures::{executor::block_on, stream};
//! use safer_instruct::{
//!     Instruction, Judgement, Pipeline, Response, SourceText, induce_fn, judge_fn, respond_fn,
//!     dataset::Existing, run::{End, FolderStore, Runner},
//! };
//!
//! let pipeline = Pipeline::new(
//!     induce_fn(|_| async { Ok(Instruction::new("Is it worth it?")) }),
//!     respond_fn(|_| async { Ok(Response::new("Yes. Give it a month.")) }),
//!     judge_fn(|_, _, _| async { Ok(Judgement::first()) }),
//! );
//! # let dir = tempfile::tempdir()?;
//! # let folder = dir.path().join("out");
//! let manifest = serde_json::json!({"input": "posts.jsonl", "seed": 7});
//! let mut store = FolderStore::open(&folder, manifest, Existing::Resume)?;
//! let texts = (0..3).map(|n| Ok(SourceText::new(format!("post-{n}"), format!("Do not try, part {n}."))));
//! let begun = Instant::now();
//! // With tokio the last argument would be `tokio::time::sleep`.
//! let report = block_on(
//!     Runner::new(&mut store, &pipeline, || begun.elapsed(), |_: Duration| std::future::pending())
//!         .with_total(3)
//!         .with_observer(|progress| println!("{} of {:?}", progress.done, progress.total))
//!         .run(stream::iter(texts)),
//! )?;
//! assert_eq!((report.end, report.progress.done), (End::Complete, 3));
//! assert!(folder.join("pairs.jsonl").exists());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod event_loop;
mod faults;
mod folder;
#[cfg(feature = "run")]
mod journal;
mod limit;
mod manifest;
mod progress;
mod resume;
mod runner;
mod store;
mod worker;

#[cfg(feature = "testkit")]
#[doc(hidden)]
pub use faults::{Faults, plant_faults};
pub use folder::FolderStore;
#[cfg(feature = "run")]
#[cfg_attr(docsrs, doc(cfg(feature = "run")))]
pub use journal::{Budget, Journal, Price, RecordedModel, Status, export};
pub use limit::{Limit, Spent};
pub use progress::{End, RunProgress, RunReport};
pub use runner::Runner;
pub use store::{NewOutcome, PastOutcome, PastQuery, RunStore, Session, Tally, TextHash};
