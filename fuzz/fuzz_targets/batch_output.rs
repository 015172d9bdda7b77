//! Files of results: a line is read or named, and the completion of its request keeps its secrets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safer_instruct::backends::openai::batch::BatchReader;
use safer_instruct_fuzz::{Script, check};

fuzz_target!(|input: &[u8]| {
    // The first line is that of a script without answers, the rest is the file.
    let (words, file) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let script = Script::read(words);
    let (request, texts) = (script.request(), script.texts());
    let expected = script.has("expected").then_some(["a", "b", "c"]);
    let model = script.model();
    let mut reader = BatchReader::new("output.jsonl", file);
    if let Some(ids) = expected {
        reader = reader.with_expected(ids);
    }
    for row in reader {
        match row {
            Ok(row) => check(&row.completion(&model, &request), &texts),
            Err(error) => check::<()>(&Err(error), &texts),
        }
    }
});
