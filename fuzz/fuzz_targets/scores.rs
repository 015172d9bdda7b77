//! Scores of continuations, over as many exchanges as the server needs.
#![no_main]

use futures::FutureExt;
use libfuzzer_sys::fuzz_target;
use safer_instruct::ScoringModel;
use safer_instruct_fuzz::{Script, check, scored_texts};

fuzz_target!(|input: &[u8]| {
    let script = Script::read(input);
    let request = script.score_request();
    let model = script.model();
    for _ in 0..2 {
        let Some(done) = model.score(&request).now_or_never() else {
            return;
        };
        check(&done, &scored_texts());
        if let Ok(scores) = &done {
            assert_eq!(scores.continuations.len(), request.continuations.len());
            assert!(
                scores
                    .continuations
                    .iter()
                    .all(|score| !score.logprob.is_nan())
            );
        }
    }
});
