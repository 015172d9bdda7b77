//! The journal of a run: one SQLite file.

mod budget;
mod export;
mod fatal;
mod recorded_model;
mod schema;
mod shared;
mod status;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod turns;
mod wall_time;

use std::{fs, path::Path, sync::Arc};

use serde_json::Value;

pub use budget::{Budget, Price};
pub use export::export;
pub use recorded_model::RecordedModel;
pub use status::Status;

use self::{
    fatal::Fatal,
    schema::{build, open_reader, open_writer, read_manifest},
    shared::Shared,
    tables::Tables,
};
use super::{limit::Spent, manifest::Manifest};
use crate::{
    dataset::Summary,
    error::{Error, Result},
    files::{Lock, beside},
};

/// What is durable of a run: outcomes, calls of models and what they cost, in one SQLite file.
///
/// - What a call is to be asked is on the disk before the model is called, and its answer and cost before anybody sees
///   it.
/// - A call that was answered is never made again. One that was in flight when the process ended is: nobody knows
///   whether it was paid.
/// - Outcomes are written in input order, so those that are there are those of the first texts.
///
/// The file is locked (`run.sqlite.lock` beside it) until the journal and every model that it [records](Self::record)
/// are dropped. The first failure to write ends its use; what was committed stays, and the journal can be opened again.
///
/// The constructors and [`export`](Self::export) block; everything else is done by a thread of its own.
///
/// ```
/// use futures::executor::block_on;
/// use safer_instruct::{ChatModel, ChatRequest, Prompt, run::{Journal, Price}};
/// # use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// # use safer_instruct::{Completion, FinishReason, ModelId, Usage, complete_fn};
/// # let calls = AtomicU32::new(0);
/// # let paid_model = complete_fn(|_| {
/// #     calls.fetch_add(1, Ordering::Relaxed);
/// #     let usage = Usage { prompt_tokens: 10, completion_tokens: 2 };
/// #     async move { Ok(Completion::new("Yes.", FinishReason::Stop, usage, Arc::new(ModelId::new("m")))) }
/// # });
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("run.sqlite");
///
/// let journal = Journal::create(&path, serde_json::json!({"model": "m", "seed": 7}))?;
/// let model = journal.record(paid_model, "m").with_price(Price::per_million(500_000, 1_500_000));
/// let request = ChatRequest::new(Prompt::Raw("Can I?".into()));
/// assert_eq!(block_on(model.complete(&request))?.text, "Yes.");
/// assert_eq!(block_on(model.complete(&request))?.text, "Yes.");
/// assert_eq!((journal.spent().requests, journal.spent().money), (1, 8));
/// # assert_eq!(calls.load(Ordering::Relaxed), 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// As the store of a run:
///
/// ```
/// use std::time::{Duration, Instant};
/// use futures::{executor::block_on, stream};
/// use safer_instruct::{
///     Judgement, Pipeline, SourceText, judge_fn, run::{Budget, End, Journal, Price, Runner, Status},
///     stages::{ChatInduction, ExpertResponse},
/// };
/// # use std::sync::Arc;
/// # use safer_instruct::{Completion, FinishReason, ModelId, Usage, complete_fn};
/// # let paid_model = complete_fn(|_| async {
/// #     let usage = Usage { prompt_tokens: 100, completion_tokens: 10 };
/// #     Ok(Completion::new("Say what you need.", FinishReason::Stop, usage, Arc::new(ModelId::new("m"))))
/// # });
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("run.sqlite");
///
/// let manifest = serde_json::json!({"input": "posts.jsonl", "model": "m", "seed": 7});
/// let mut journal = Journal::open_or_create(&path, manifest)?;
/// // Money is counted in millionths: at most 5 dollars.
/// block_on(journal.set_budget(Budget::new().with_money(5_000_000)))?;
/// let model = journal.record(paid_model, "m").with_price(Price::per_million(500_000, 1_500_000));
/// let pipeline = Pipeline::new(
///     ChatInduction::new(&model),
///     ExpertResponse::new(&model),
///     judge_fn(|_, _, _| async { Ok(Judgement::first()) }),
/// );
///
/// let texts = (0..3).map(|n| Ok(SourceText::new(format!("post-{n}"), format!("Never ask for anything, part {n}."))));
/// let begun = Instant::now();
/// // With tokio the last argument would be `tokio::time::sleep`.
/// let report = block_on(
///     Runner::new(&mut journal, &pipeline, || begun.elapsed(), |_: Duration| std::future::pending())
///         .with_total(3)
///         .with_observer(|progress| println!("{} of {:?}", progress.done, progress.total))
///         .run(stream::iter(texts)),
/// )?;
/// assert_eq!((report.end, report.progress.done), (End::Complete, 3));
/// let summary = journal.export(dir.path().join("out"))?;
/// assert_eq!(summary.read(), 3);
/// // Any process may look into it meanwhile.
/// assert_eq!(Status::read(&path)?.in_flight, 0);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Only calls of recorded models are replayed. A stage that costs or that does not give the same result twice belongs
/// behind one.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

impl Journal {
    /// Starts the journal of a new run.
    ///
    /// `manifest` says what the run is made with: inputs, prompts, models, adapters, parameters, the seed. Keep secrets
    /// out of it. The version of this crate is added.
    ///
    /// # Errors
    /// [`Error::Config`] if there is a file already; [`Error::Io`] if it cannot be written or another process has it.
    pub fn create(path: impl AsRef<Path>, manifest: Value) -> Result<Self> {
        let (path, lock) = lock_new(path.as_ref())?;
        build(path, &Manifest::new(manifest), |_| Ok(())).map_err(|fatal| fatal.error(path))?;
        Self::start(path, lock)
    }

    /// Goes on with a run that was made with an equal manifest and the same version of this crate.
    ///
    /// # Errors
    /// [`Error::Config`] if the manifest differs, with what differs in it (then see [`fork`](Self::fork));
    /// [`Error::Input`] if the file is no journal, a damaged one, or of a newer version; [`Error::Io`] if it is not
    /// there or cannot be written, or another process has it.
    pub fn open(path: impl AsRef<Path>, manifest: Value) -> Result<Self> {
        let path = path.as_ref();
        // Or the lock would be made for a file that is not there.
        fs::metadata(path).map_err(|error| Error::io(path, error))?;
        let lock = lock(path)?;
        let fail = |fatal: Fatal| fatal.error(path);
        let old = open_reader(path)
            .and_then(|reader| read_manifest(&reader))
            .map_err(fail)?;
        let changes = old.changes(&Manifest::new(manifest));
        if !changes.is_empty() {
            let reason = format!(
                "{} was made with another manifest ({}); give these their old values, or fork the journal to keep the calls that were answered",
                path.display(),
                changes.join("; ")
            );
            return Err(Error::config("manifest", reason));
        }
        Self::start(path, lock)
    }

    /// Goes on with the run at `path`, or starts it if there is none.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`create`](Self::create).
    pub fn open_or_create(path: impl AsRef<Path>, manifest: Value) -> Result<Self> {
        let path = path.as_ref();
        if path.exists() {
            Self::open(path, manifest)
        } else {
            Self::create(path, manifest)
        }
    }

    /// Starts the journal of a new run with the answered calls of an old one, which cost it nothing. Requests that are
    /// still the same are not made again. The old journal stays as it is, and may be in use.
    ///
    /// # Errors
    /// Those of [`create`](Self::create) for the new path and of [`Status::read`](super::Status::read) for the old one.
    pub fn fork(old: impl AsRef<Path>, path: impl AsRef<Path>, manifest: Value) -> Result<Self> {
        let old = old.as_ref();
        let reader = open_reader(old).map_err(|fatal| fatal.error(old))?;
        let (path, lock) = lock_new(path.as_ref())?;
        build(path, &Manifest::new(manifest), |new| {
            let columns = "key, model, state, tries, errors, prompt_tokens, completion_tokens, cost, inherited, answer";
            let mut query = reader.prepare(&format!(
                "SELECT {} FROM calls WHERE state = 'done'",
                columns.replace("inherited", "1")
            ))?;
            let mut insert = new.prepare(&format!(
                "INSERT INTO calls ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            ))?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                for column in 0..10 {
                    let value: rusqlite::types::Value = row.get(column)?;
                    insert.raw_bind_parameter(column + 1, value)?;
                }
                insert.raw_execute()?;
            }
            Ok(())
        })
        .map_err(|fatal| fatal.error(path))?;
        Self::start(path, lock)
    }

    fn start(path: &Path, lock: Lock) -> Result<Self> {
        let tables = open_writer(path)
            .inspect(|_| tracing::trace!("opening"))
            .and_then(|connection| Tables::new(path, connection))
            .map_err(|fatal| fatal.error(path))?;
        Ok(Self {
            shared: Arc::new(Shared::start(path, tables, lock)?),
        })
    }

    /// Sets what the run may spend, what it has spent included. It stays in the journal until it is set again. By
    /// default there is no limit.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub async fn set_budget(&self, budget: Budget) -> Result<()> {
        self.shared
            .ask(move |tables| tables.set_budget(budget))
            .await
    }

    /// Puts the journal before a model. `name` says which model it is: requests to models of the same name are the same
    /// if they are equal. Several stages share it as a reference or in an `Arc`.
    pub fn record<M>(&self, model: M, name: impl Into<Arc<str>>) -> RecordedModel<M> {
        RecordedModel::new(model, name.into(), Arc::clone(&self.shared))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    /// How many outcomes there are.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.shared.worker.tally().counts.total()
    }

    /// What the run has spent, all its sessions together.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.shared.worker.tally().spent
    }

    /// Writes the outcomes into a folder; see [`export`](super::export()).
    ///
    /// # Errors
    /// Those of [`export`](super::export()).
    pub fn export(&self, folder: impl AsRef<Path>) -> Result<Summary> {
        export(self.path(), folder)
    }
}

fn lock_new(path: &Path) -> Result<(&Path, Lock)> {
    let lock = lock(path)?;
    if path.symlink_metadata().is_ok() {
        let reason = format!(
            "{} is there already; open it to go on, or choose another path",
            path.display()
        );
        return Err(Error::config("journal", reason));
    }
    Ok((path, lock))
}

/// Locks a file beside the journal. The journal itself must not be: SQLite has locks of its own on it, which closing it
/// elsewhere in this process would take away.
fn lock(path: &Path) -> Result<Lock> {
    Lock::take(&beside(path, ".lock"))
}
