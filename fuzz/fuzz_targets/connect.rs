//! What is asked of a server before a run: its list of models, and a try of what is needed.
#![no_main]

use futures::FutureExt;
use libfuzzer_sys::fuzz_target;
use safer_instruct::backends::openai::Need;
use safer_instruct_fuzz::{Script, check};

const NEEDS: [(&str, Need); 6] = [
    ("raw-prompts", Need::RawPrompts),
    ("logprobs", Need::Logprobs),
    ("label-scores", Need::Scores),
    ("raw-scores", Need::RawScores),
    ("choices", Need::Choices),
    ("schema", Need::JsonSchema),
];

fuzz_target!(|input: &[u8]| {
    let script = Script::read(input);
    let needs = NEEDS.map(|(word, need)| script.has(word).then_some(need));
    let (known, server) = (script.has("known"), script.server());
    let several = script.has("several");
    let mut builder = script.builder();
    for need in needs.into_iter().flatten() {
        builder = builder.with_need(need);
    }
    if known {
        builder = builder.with_server(server);
    }
    if several {
        builder = builder.with_endpoint("http://localhost:8001/v1");
    }
    if let Some(done) = builder.connect().now_or_never() {
        check(&done, &[]);
    }
});
