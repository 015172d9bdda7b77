//! Downloads of models.

use std::{env, path::Path};

use safer_instruct::{
    Result,
    hub::{FetchedModel, Fetcher, HuggingFace, ModelCache, ModelSource},
};

use crate::progress::Progress;

/// The folder for downloaded models, by default the user's cache folder.
pub(crate) fn cache(folder: Option<&Path>) -> Result<ModelCache> {
    folder.map_or_else(ModelCache::default_dir, |folder| {
        Ok(ModelCache::new(folder))
    })
}

/// A file, downloaded unless it is in the cache. Endpoint and token come from the usual variables.
pub(crate) fn fetch(cache: ModelCache, source: &ModelSource) -> Result<FetchedModel> {
    let mut hugging_face = HuggingFace::new();
    if let Ok(endpoint) = env::var("HF_ENDPOINT") {
        hugging_face = hugging_face.with_endpoint(endpoint);
    }
    if let Ok(token) = env::var("HF_TOKEN") {
        hugging_face = hugging_face.with_token(token);
    }
    let progress = Progress::of_bytes("of the model");
    let fetched = Fetcher::new(cache)
        .with_hugging_face(hugging_face)
        .fetch(source, |at| progress.go_to(at.bytes, at.total, ""));
    progress.end();
    fetched
}
