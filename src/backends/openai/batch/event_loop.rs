//! The loop that runs while a call waits: it sends batches, polls them, and takes their results.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;

use super::{
    folder::Folder,
    shared::Shared,
    state::{Queued, Remote},
};
use crate::error::{Error, Result};

/// What is to be done next.
#[derive(Clone, Copy)]
enum Due {
    /// Send what is queued.
    Send,
    /// Poll the batches.
    Poll,
}

/// The times that are waited for.
struct Timers {
    /// The queue at the time when it began.
    quiet: Option<(Queued, BoxFuture<'static, ()>)>,
    poll: Option<BoxFuture<'static, ()>>,
}

/// Runs until no call waits.
pub(super) async fn drive(shared: Arc<Shared>) {
    let mut timers = Timers {
        quiet: None,
        // What was begun before is asked after at once.
        poll: Some(Box::pin(std::future::ready(()))),
    };
    while shared.goes_on() {
        let wait = match poll_fn(|cx| poll_due(&shared, &mut timers, cx)).await {
            Due::Send => shared.send().await,
            Due::Poll => shared.poll().await,
        };
        if let Some(wait) = wait {
            timers.poll = Some(shared.sleep.sleep(wait));
        }
    }
}

fn poll_due(shared: &Shared, timers: &mut Timers, cx: &mut Context<'_>) -> Poll<Due> {
    shared.filled.register(cx.waker());
    let settings = &shared.settings;
    let (mut queued, runs) = {
        let state = shared.state();
        (state.queued(), !state.running.is_empty())
    };
    while let Some(now) = queued {
        if now.requests >= settings.wave && !now.again {
            timers.quiet = None;
            return Poll::Ready(Due::Send);
        }
        let wait = if now.again {
            settings.quiet.max(settings.poll)
        } else {
            settings.quiet
        };
        let (then, timer) = timers
            .quiet
            .get_or_insert_with(|| (now, shared.sleep.sleep(wait)));
        if timer.as_mut().poll(cx).is_pending() {
            break;
        }
        let is_quiet = then.arrivals == now.arrivals;
        timers.quiet = None;
        if is_quiet {
            return Poll::Ready(Due::Send);
        }
        queued = shared.state().queued();
    }
    if runs {
        let timer = timers
            .poll
            .get_or_insert_with(|| shared.sleep.sleep(settings.poll));
        if timer.as_mut().poll(cx).is_ready() {
            timers.poll = None;
            return Poll::Ready(Due::Poll);
        }
    }
    Poll::Pending
}

impl Shared {
    /// Whether any call waits. If none does, the next call starts another loop.
    fn goes_on(&self) -> bool {
        let mut state = self.state();
        let awaited = state.is_awaited();
        if !awaited {
            state.driver = None;
        }
        awaited
    }

    /// Makes batches of what is queued; each is written to the folder and then created. Returns the time until the next
    /// poll, if it must differ.
    async fn send(&self) -> Option<Duration> {
        let batches = self.state().take(self.settings.limits);
        let mut wait = None;
        for batch in batches {
            let number = batch.number;
            let write = move |folder: &Folder| folder.begin(number, &batch.url, &batch.lines);
            match self.disk.run(write).await {
                Ok(record) => {
                    if let Some(running) = self.state().running.get_mut(&number) {
                        running.record = Some(record);
                    }
                    let went = self.advance(number).await;
                    wait = wait.max(self.note(number, went).await);
                }
                Err(error) => self.fail(number, error).await,
            }
        }
        wait
    }

    /// Polls every batch. Returns the time until the next poll, if it must differ.
    async fn poll(&self) -> Option<Duration> {
        let mut wait = None;
        let unknown: Vec<u64> = {
            let state = self.state();
            let unknown = state.running.iter();
            let unknown =
                unknown.filter(|(_, running)| matches!(running.remote, Remote::Unknown { .. }));
            unknown.map(|(number, _)| *number).collect()
        };
        if let Err(error) = self.find(&unknown).await {
            for number in unknown {
                let error = self.in_doubt(number, &error);
                wait = wait.max(self.note_failure(number, error).await);
            }
        }
        let numbers: Vec<u64> = self.state().running.keys().copied().collect();
        for number in numbers {
            let went = self.advance(number).await;
            wait = wait.max(self.note(number, went).await);
        }
        wait
    }

    /// Records how a step went. Returns the time until the next poll, if it must differ.
    async fn note(&self, number: u64, went: Result<bool>) -> Option<Duration> {
        match went {
            Ok(asked) => {
                if let (true, Some(running)) = (asked, self.state().running.get_mut(&number)) {
                    running.away = Duration::ZERO;
                    running.failures = 0;
                    running.is_given_up = false;
                }
                None
            }
            Err(error) => self.note_failure(number, error).await,
        }
    }

    async fn note_failure(&self, number: u64, error: Error) -> Option<Duration> {
        if !error.is_transient() {
            self.fail(number, error).await;
            return None;
        }
        // Nobody is left waiting for longer, and other batches are asked after too.
        let asked = error.retry_after().unwrap_or_default();
        let wait = self.settings.poll.max(asked.min(self.settings.patience));
        tracing::warn!(
            error = error.report(),
            ?wait,
            "the server is asked again later"
        );
        let failures = {
            let mut state = self.state();
            let running = state.running.get_mut(&number)?;
            running.away = running.away.saturating_add(wait);
            running.failures += 1;
            let given_up = running.away >= self.settings.patience;
            given_up.then(|| {
                running.away = Duration::ZERO;
                std::mem::take(&mut running.failures)
            })
        };
        if let Some(attempts) = failures {
            let source = error.into();
            self.fail(number, Error::Exhausted { attempts, source })
                .await;
        }
        Some(wait)
    }

    /// Fails the calls that wait for a batch, and removes the batch if it was not sent.
    async fn fail(&self, number: u64, error: Error) {
        let unsent = self
            .state()
            .running
            .get(&number)
            .is_some_and(|running| running.remote == Remote::Unsent);
        if unsent && let Err(error) = self.disk.run(move |folder| folder.remove(number)).await {
            tracing::warn!(
                error = error.report(),
                "a batch that was not sent stays in the folder"
            );
        }
        self.state().fail(number, &error);
    }
}
