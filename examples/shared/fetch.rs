//! Downloads, as all examples do them.

use std::{env, path::PathBuf};

use safer_instruct::{
    Result,
    hub::{Cache, FetchedModel, Fetcher, HuggingFace, ModelSource, Progress},
};

/// A file, downloaded unless it is in the folder, by default the user's cache folder. Endpoint and token come from the usual variables.
pub(crate) fn fetch(
    cache: Option<&PathBuf>,
    source: &ModelSource,
    progress: impl FnMut(Progress),
) -> Result<FetchedModel> {
    let cache = match cache {
        Some(dir) => Cache::new(dir),
        None => Cache::default_dir()?,
    };
    let mut hugging_face = HuggingFace::new();
    if let Ok(endpoint) = env::var("HF_ENDPOINT") {
        hugging_face = hugging_face.with_endpoint(endpoint);
    }
    if let Ok(token) = env::var("HF_TOKEN") {
        hugging_face = hugging_face.with_token(token);
    }
    Fetcher::new(cache)
        .with_hugging_face(hugging_face)
        .fetch(source, progress)
}
