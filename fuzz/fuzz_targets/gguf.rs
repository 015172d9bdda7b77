//! Headers of model files. What they say of tensors is of a file of zeros.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use safer_instruct::backends::candle::CandleModel;
use safer_instruct_fuzz::{check_report, padded};

fuzz_target!(|input: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    fs::write(&path, padded(input)).unwrap();
    let loaded = CandleModel::builder(&path)
        .with_threads(1)
        .with_kv_memory(1 << 20)
        .load();
    match loaded {
        Ok(model) => {
            let tokenizer = model.tokenizer();
            let ids = tokenizer
                .encode("the thing <|im_end|> in a 川")
                .unwrap_or_default();
            let _ = tokenizer.decode(&ids);
        }
        Err(error) => check_report(&error),
    }
});
