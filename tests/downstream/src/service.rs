//! A run that a service embeds: texts come in through a queue, outcomes are written to a folder, and a restart goes on.

use std::{path::PathBuf, time::Instant};

use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::BoxFuture,
};
use safer_instruct::{
    Decorate, Error, Instruction, Pipeline, Response, Result, RetryPolicy, Sleep, SourceText,
    dataset::Existing,
    filters::Distinct,
    induce_fn, respond_fn,
    run::{FolderStore, RunProgress, RunReport, Runner},
};

use crate::{Calmer, HasLetters, NoLinks};

/// Takes texts, and makes pairs of them in a folder.
#[derive(Debug)]
pub struct PairService {
    texts: mpsc::Sender<Result<SourceText>>,
    progress: mpsc::UnboundedReceiver<RunProgress>,
    stop: oneshot::Sender<()>,
}

impl PairService {
    /// A service, and the work that its caller's runtime must poll. After a restart the same texts are submitted again.
    ///
    /// # Errors
    /// If the folder cannot be written, or holds a run of other settings.
    pub fn open(
        folder: PathBuf,
        sleep: impl Sleep + Clone + 'static,
    ) -> Result<(Self, BoxFuture<'static, Result<RunReport>>)> {
        let manifest = serde_json::json!({"service": "pairs", "version": 1});
        let mut store = FolderStore::open(folder, manifest, Existing::Resume)?;
        let (texts, queue) = mpsc::channel(16);
        let respond = respond_fn(|_| async { Ok(Response::new("Begin with ten minutes a day.")) });
        let pipeline = Pipeline::new(
            induce_fn(|_| async { Ok(Instruction::new("Can I learn it at my age?")) }),
            respond.with_retry(RetryPolicy::default(), sleep.clone()),
            Calmer,
        )
        .with_source_filter(HasLetters)
        .with_response_filter(NoLinks)
        .with_ordered_source_filter(Distinct::new)
        .boxed();
        let (tell, progress) = mpsc::unbounded();
        let (stop, stopped) = oneshot::channel();
        let work = async move {
            let begun = Instant::now();
            Runner::new(&mut store, &pipeline, || begun.elapsed(), sleep)
                .with_observer(move |at| drop(tell.unbounded_send(at.clone())))
                // A sender that is dropped without a word is no stop: the queue ends, and its texts are worked on.
                .with_stop(async {
                    if stopped.await.is_err() {
                        std::future::pending().await
                    }
                })
                .run(queue.fuse())
                .await
        };
        Ok((Self { texts, progress, stop }, work.boxed()))
    }

    /// Queues a text; waits while the queue is full.
    ///
    /// # Errors
    /// If the work has ended.
    pub async fn submit(&mut self, id: &str, text: &str) -> Result<()> {
        let text = Ok(SourceText::new(id, text));
        futures::SinkExt::send(&mut self.texts, text).await.map_err(|error| Error::Other(error.into()))
    }

    /// Waits until the outcomes of so many texts are in the folder, or the work has ended.
    pub async fn wait_for(&mut self, done: u64) {
        while self.progress.next().await.is_some_and(|at| at.done < done) {}
    }

    /// Tells the work to begin no more texts, whatever is still in the queue.
    pub fn stop(self) {
        let _ = self.stop.send(());
    }
}

#[cfg(test)]
mod tests {
    use std::{future, time::Duration};

    use futures::{executor::block_on, join};
    use safer_instruct::{dataset::read_pairs, run::End};

    use super::*;

    const TEXTS: [(&str, &str); 3] = [
        ("post-1", "You are far too old for it!!"),
        ("post-2", "12345!"),
        ("post-3", "you are far  too old for it!!"),
    ];

    fn serve(folder: PathBuf, texts: &[(&str, &str)]) -> RunReport {
        let never = |_: Duration| future::pending();
        let (mut service, work) = PairService::open(folder, never).unwrap();
        let submit = async move {
            for (id, text) in texts {
                service.submit(id, text).await.unwrap();
            }
        };
        let (report, ()) = block_on(async { join!(work, submit) });
        report.unwrap()
    }

    #[test]
    fn goes_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
        let report = serve(whole.clone(), &TEXTS);
        assert_eq!(report.end, End::Complete);
        let progress = &report.progress;
        assert_eq!((progress.done, progress.kept, progress.dropped), (3, 1, 2));
        let pair = read_pairs(whole.join("pairs.jsonl")).unwrap().next().unwrap().unwrap();
        assert_eq!(pair.prompt, "Can I learn it at my age?");
        assert_eq!(pair.rejected, TEXTS[0].1);

        serve(parts.clone(), &TEXTS[..1]);
        // Another session is told to stop when the second text is done, with the queue still open.
        let (mut service, work) = PairService::open(parts.clone(), |_| future::pending()).unwrap();
        let stop = async move {
            for (id, text) in &TEXTS[..2] {
                service.submit(id, text).await.unwrap();
            }
            service.wait_for(2).await;
            service.stop();
        };
        let (report, ()) = block_on(async { join!(work, stop) });
        let report = report.unwrap();
        assert_eq!((report.end, report.progress.done), (End::Stopped, 2));
        assert_eq!(serve(parts.clone(), &TEXTS).progress.done, 3);
        for file in ["pairs.jsonl", "dropped.jsonl"] {
            assert_eq!(std::fs::read(whole.join(file)).unwrap(), std::fs::read(parts.join(file)).unwrap());
        }
    }
}
