//! The steps of a batch on the server: it is created, looked up if that is in doubt, and its results are taken.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
};

use super::{
    Batch, BatchStatus,
    folder::{Folder, again, file_name},
    row::unasked,
    shared::Shared,
    state::Remote,
};
use crate::{
    backends::openai::errors::classify::shown,
    error::{Error, Result},
};

/// The metadata entry that holds our name for a batch.
const KEY: &str = "safer_instruct_batch";
/// The most pages of the server's list that are read, of 100 batches each.
const MOST_PAGES: usize = 1_000;
/// The code of a batch that the server cannot queue until others are done.
const NO_ROOM: &str = "token_limit_exceeded";

impl Shared {
    /// Looks up batches that may have been created in the server's list.
    pub(super) async fn find(&self, numbers: &[u64]) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let own = numbers.to_vec();
        let names = move |folder: &Folder| {
            Ok(own
                .into_iter()
                .map(|number| (folder.name(number), number))
                .collect())
        };
        let mut left: HashMap<String, u64> = self.disk.run(names).await?;
        let (mut pages, mut after, mut seen) = (0, None::<String>, HashSet::new());
        loop {
            let page = self.client.list(after.as_deref()).await?;
            pages += 1;
            let before = seen.len();
            for batch in &page.data {
                seen.insert(batch.id.clone());
                let name = batch.metadata.get(KEY);
                if let Some(number) = name.and_then(|name| left.remove(name)) {
                    self.adopt(number, batch).await?;
                    tracing::info!(batch = batch.id, "found a batch that was begun");
                }
            }
            let is_new = seen.len() > before;
            // Some servers give the whole list, whatever it is asked to come after.
            if left.is_empty() || !page.goes_on() || !is_new && !page.has_more {
                break;
            }
            if !is_new || pages == MOST_PAGES {
                return Err(self.without_end(pages));
            }
            after = page.data.last().map(|batch| batch.id.clone());
        }
        let mut state = self.state();
        for number in left.into_values() {
            if let Some(running) = state.running.get_mut(&number) {
                running.remote = match running.remote {
                    // It may be on its way to the list.
                    Remote::Unknown { looked: false } => Remote::Unknown { looked: true },
                    _ => Remote::Unsent,
                };
            }
        }
        Ok(())
    }

    /// The error of a list that repeats itself or goes on after the last page that is read.
    fn without_end(&self, pages: usize) -> Error {
        Error::Refused {
            backend: self.client.model().connection.name.clone(),
            status: None,
            message: format!(
                "its list of batches has no end: page {pages} of /batches still says `has_more`"
            ),
        }
    }

    /// Takes the next step with a batch. Returns whether the server was asked.
    pub(super) async fn advance(&self, number: u64) -> Result<bool> {
        let Some((Some(record), remote)) = ({
            let state = self.state();
            let running = state.running.get(&number);
            running.map(|running| (running.record.clone(), running.remote.clone()))
        }) else {
            return Ok(false);
        };
        match remote {
            Remote::Unknown { .. } => return Ok(false),
            Remote::Known(remote) => self.collect(number, &remote).await?,
            Remote::Unsent => {
                let endpoint = record.endpoint.clone();
                let requests = self.disk.run(move |folder| {
                    Ok((folder.name(number), folder.requests(number, &record)?))
                });
                let (name, requests) = requests.await?;
                let file = self.client.upload(&requests).await?;
                drop(requests);
                // From here on it may be there.
                self.set(number, Remote::Unknown { looked: false });
                let metadata = BTreeMap::from([(KEY.to_owned(), name)]);
                let window = &self.settings.window;
                match self
                    .client
                    .create(&file, &endpoint, window, &metadata)
                    .await
                {
                    Ok(batch) => self.adopt(number, &batch).await?,
                    Err(error) => {
                        if is_refusal(&error) {
                            self.set(number, Remote::Unsent);
                        }
                        return Err(error);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Stores the server's name for a batch.
    async fn adopt(&self, number: u64, batch: &Batch) -> Result<()> {
        let name = self.client.name(batch)?;
        let record = {
            let mut state = self.state();
            let Some(running) = state.running.get_mut(&number) else {
                return Ok(());
            };
            running.remote = Remote::Known(name.to_owned());
            let Some(record) = &mut running.record else {
                return Ok(());
            };
            record.remote = Some(name.to_owned());
            record.clone()
        };
        self.disk
            .run(move |folder| folder.save(number, &record))
            .await
    }

    /// Reads the state of a batch, and takes its results if they are ready.
    async fn collect(&self, number: u64, remote: &str) -> Result<()> {
        let lost = |error: Error| self.lost(number, remote, error);
        let batch = self.client.get(remote).await.map_err(lost)?;
        tracing::debug!(
            batch = remote,
            completed = batch.request_counts.completed,
            failed = batch.request_counts.failed,
            total = batch.request_counts.total,
            "asked after a batch"
        );
        if !batch.status.is_final() {
            return Ok(());
        }
        let mut files = [None, None];
        for (bytes, file) in files
            .iter_mut()
            .zip([&batch.output_file_id, &batch.error_file_id])
        {
            if let Some(file) = file.as_ref().filter(|file| !file.is_empty()) {
                *bytes = Some(self.client.content(file).await.map_err(lost)?);
            }
        }
        let record = self
            .state()
            .running
            .get(&number)
            .and_then(|running| running.record.clone());
        let Some(record) = record else {
            return Ok(());
        };
        let finished = self.disk.run(move |folder| {
            let [output, errors] = files;
            folder.finish(number, &record, output.as_deref(), errors.as_deref())
        });
        let mut finished = finished.await?;
        let missing = self.missing(remote, &batch, finished.bad.take());
        let no_room = batch.errors.iter().any(|fault| fault.code == NO_ROOM);
        self.state().finish(
            number,
            finished.rows,
            &missing,
            no_room,
            self.settings.max_tries,
        );
        Ok(())
    }

    /// The error of requests that have no row in the results.
    fn missing(&self, remote: &str, batch: &Batch, bad: Option<(usize, Error)>) -> Error {
        let connection = &self.client.model().connection;
        let backend = connection.name.clone();
        match batch.status {
            BatchStatus::Cancelled => unasked(&backend, "batch_cancelled"),
            BatchStatus::Expired => unasked(&backend, "batch_expired"),
            BatchStatus::Failed if batch.errors.iter().any(|fault| fault.code == NO_ROOM) => {
                Error::RateLimited {
                    backend,
                    retry_after: None,
                }
            }
            BatchStatus::Failed => {
                let secrets = connection.secrets(&[]);
                let faults = batch.errors.iter();
                let faults = faults.filter_map(|fault| shown(&fault.to_string(), &secrets));
                let faults: Vec<String> = faults.take(3).collect();
                let message = format!(
                    "the batch {remote} failed as a whole: {}",
                    faults.join(", ")
                );
                Error::Refused {
                    backend,
                    status: None,
                    message,
                }
            }
            _ => {
                let mut reason =
                    format!("the results of the batch {remote} have no row for the request");
                if let Some((count, first)) = bad {
                    reason = format!(
                        "{reason}, and {count} lines that cannot be used: {}",
                        first.report()
                    );
                }
                Error::Transport {
                    backend,
                    source: reason.into(),
                }
            }
        }
    }

    /// The error of a batch that the server does not return. It was paid for, so the way to recover it is named.
    fn lost(&self, number: u64, remote: &str, error: Error) -> Error {
        if error.is_transient() {
            return error;
        }
        let reason = format!(
            "the server does not give its batch {remote}: {}; is it the key of the same account? It can be asked for again once that is put right; {}",
            error.report(),
            again(number)
        );
        Error::input(self.record_path(number), None, reason)
    }

    /// The error of a batch that may have been created.
    pub(super) fn in_doubt(&self, number: u64, error: &Error) -> Error {
        if error.is_transient() {
            return error.clone();
        }
        let reason = format!(
            "the server does not say whether it has begun this batch: {}; it is found or begun once the server lists its batches; {}",
            error.report(),
            again(number)
        );
        Error::input(self.record_path(number), None, reason)
    }

    fn record_path(&self, number: u64) -> PathBuf {
        self.folder.join(file_name(number, "batch.json"))
    }

    fn set(&self, number: u64, remote: Remote) {
        if let Some(running) = self.state().running.get_mut(&number) {
            running.remote = remote;
        }
    }
}

/// Whether the server answered that it did not create the batch.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::RateLimited { .. }
            | Error::ContextOverflow { .. }
            | Error::Refused {
                status: Some(_),
                ..
            }
    )
}
