//! The threads of a model.

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Starts the threads of a model: `threads` of them, or one for each core. All that is computed for it is computed by
/// them.
///
/// # Errors
/// Fails if the system has no threads to give.
pub(super) fn thread_pool(name: &str, threads: Option<usize>) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads.map_or(0, |threads| threads.max(1)))
        .thread_name(|number| format!("safer-instruct-model-{number}"))
        // A panic in the work drops the inbox and all replies, so that every caller gets an error.
        .panic_handler(drop)
        .build()
        .map_err(|error| Error::model(name, format!("its threads cannot be started: {error}")))
}
