//! Where the tests of the local engine get their model.
#![allow(dead_code, clippy::expect_used, clippy::indexing_slicing)]

pub(crate) mod oracle;
pub(crate) mod texts;

use std::{path::PathBuf, sync::LazyLock};

use safer_instruct::{
    backends::candle::{CandleModel, Precision},
    hub::{Fetcher, ModelCache, ModelSource},
};

/// The default model, fetched into the user's cache; `SAFER_INSTRUCT_MODEL` names another file.
pub(crate) fn model_path() -> PathBuf {
    if let Some(path) = std::env::var_os("SAFER_INSTRUCT_MODEL") {
        return path.into();
    }
    fetch(&ModelSource::smollm2_135m())
}

/// The vocabulary of Mistral 7B (Apache-2.0).
pub(crate) fn spm_path() -> PathBuf {
    let source: ModelSource = "wheel:mistral-common==1.13.1/mistral_common/data/tokenizer.model.v1"
        .parse()
        .expect("it is a source");
    fetch(&source.with_sha256(SPM_SHA256))
}

const SPM_SHA256: &str = "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055";

fn fetch(source: &ModelSource) -> PathBuf {
    let cache = ModelCache::default_dir().expect("there is a cache directory");
    Fetcher::new(cache)
        .fetch(source, |_| {})
        .expect("the file can be fetched")
        .path
}

/// One model for all tests of a file, in F32: the reference.
pub(crate) fn reference() -> &'static CandleModel {
    static MODEL: LazyLock<CandleModel> = LazyLock::new(|| {
        CandleModel::builder(model_path())
            .with_precision(Precision::F32)
            .load()
            .expect("the model loads")
    });
    &MODEL
}

/// One model for all tests of a file, as it is by default.
pub(crate) fn model() -> &'static CandleModel {
    static MODEL: LazyLock<CandleModel> =
        LazyLock::new(|| CandleModel::load(model_path()).expect("the model loads"));
    &MODEL
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}
