//! Ctrl-C and SIGTERM, for all commands.

use std::{
    future::Future,
    process,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt,
    channel::oneshot::{self, Receiver, Sender},
    future::Shared,
};
use safer_instruct::{Error, Result};

use crate::ended::Ended;

/// The first signal ends the program at once, unless the command has work that it must finish cleanly: then the first
/// one asks it to stop, and the second one ends the program. Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    state: Arc<Mutex<State>>,
    asked: Shared<Receiver<()>>,
}

#[derive(Debug)]
struct State {
    /// Sent once, by the first signal.
    ask: Option<Sender<()>>,
    /// The line that is printed at the first signal, where the work ends cleanly.
    in_order: Option<String>,
}

impl Stop {
    /// Takes over the signals. To be called once, before all else.
    pub(crate) fn on_signal() -> Result<Self> {
        let (ask, asked) = oneshot::channel();
        let stop = Self {
            state: Arc::new(Mutex::new(State {
                ask: Some(ask),
                in_order: None,
            })),
            asked: asked.shared(),
        };
        let state = Arc::clone(&stop.state);
        ctrlc::set_handler(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            match (state.ask.take(), &state.in_order) {
                (Some(ask), Some(says)) => {
                    eprintln!("{says}");
                    let _ = ask.send(());
                }
                _ => process::exit(i32::from(Ended::STOPPED)),
            }
        })
        .map_err(|error| Error::Other(error.into()))?;
        Ok(stop)
    }

    /// Makes the first signal end the work cleanly from now on, and then prints a line such as "stopping after this
    /// step; Ctrl-C again ends at once".
    pub(crate) fn end_in_order(&self, says: impl Into<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.in_order = Some(says.into());
    }

    /// Makes the first signal end the program at once again.
    pub(crate) fn end_at_once(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.in_order = None;
    }

    /// Whether a signal has asked the work to end.
    pub(crate) fn is_asked(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ask.is_none()
    }

    /// Ends when a signal asks the work to end.
    pub(crate) fn asked(&self) -> impl Future<Output = ()> + Send + use<> {
        self.asked.clone().map(|_| ())
    }
}
