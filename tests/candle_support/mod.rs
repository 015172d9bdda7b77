//! Where the tests of the local engine get their model.
#![allow(dead_code, clippy::expect_used)]

use std::{path::PathBuf, sync::LazyLock};

use safer_instruct::backends::candle::CandleModel;

/// The model file: `SAFER_INSTRUCT_MODEL` names it.
pub(crate) fn model_path() -> PathBuf {
    std::env::var_os("SAFER_INSTRUCT_MODEL")
        .expect("SAFER_INSTRUCT_MODEL names a GGUF file of SmolLM2-135M-Instruct")
        .into()
}

/// One model for all tests of a file.
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
