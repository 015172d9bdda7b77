//! Adapters: the first line is the file of settings, the rest that of weights. They go on a model that is sound.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use safer_instruct::backends::candle::CandleModel;
use safer_instruct_fuzz::{check_report, padded};

const MODEL: &[u8] = include_bytes!("../seeds/gguf/llama");

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let folder = tempfile::tempdir().unwrap();
    let put = |name, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    put("tiny.gguf", &padded(MODEL));
    put("adapter_config.json", &input[..end]);
    put(
        "adapter_model.safetensors",
        input.get(end + 1..).unwrap_or_default(),
    );
    let model = CandleModel::builder(folder.path().join("tiny.gguf"));
    let loaded = model
        .with_adapter(folder.path())
        .with_threads(1)
        .with_kv_memory(1 << 20)
        .load();
    if let Err(error) = loaded {
        check_report(&error);
    }
});
