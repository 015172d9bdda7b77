//! Downloads, as all examples do them.

use std::{env, path::PathBuf};

use safer_instruct::{
    Result,
    hub::{FetchProgress, FetchedModel, Fetcher, HuggingFace, ModelCache, ModelSource},
};

/// A file, downloaded unless it is in the folder, by default the user's cache folder. Endpoint and token come from the usual variables.
pub(crate) fn fetch(
    cache: Option<&PathBuf>,
    source: &ModelSource,
    progress: impl FnMut(FetchProgress),
) -> Result<FetchedModel> {
    let cache = match cache {
        Some(dir) => ModelCache::new(dir),
        None => ModelCache::default_dir()?,
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
