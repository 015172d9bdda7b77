//! Answers without success: whatever the server says, no error repeats a text or a key.
#![no_main]

use futures::FutureExt;
use libfuzzer_sys::fuzz_target;
use safer_instruct::{ChatModel, ScoringModel};
use safer_instruct_fuzz::{Script, check, scored_texts};

fuzz_target!(|input: &[u8]| {
    let script = Script::read(input).refusing();
    let (request, scored) = (script.request(), script.score_request());
    let texts = script.texts();
    let model = script.model();
    for _ in 0..2 {
        let Some(done) = model.complete(&request).now_or_never() else {
            return;
        };
        assert!(done.is_err());
        check(&done, &texts);
        let Some(done) = model.score(&scored).now_or_never() else {
            return;
        };
        assert!(done.is_err());
        check(&done, &scored_texts());
    }
});
