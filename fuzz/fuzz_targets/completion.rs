//! Chats and raw text: what is read as a completion keeps to the request.
#![no_main]

use futures::FutureExt;
use libfuzzer_sys::fuzz_target;
use safer_instruct::{ChatModel, Completion};
use safer_instruct_fuzz::{CONTINUATIONS, Script, check};

fuzz_target!(|input: &[u8]| {
    let script = Script::read(input);
    let (request, texts) = (script.request(), script.texts());
    let model = script.model();
    // The later ones wait as earlier answers say.
    for _ in 0..3 {
        let Some(done) = model.complete(&request).now_or_never() else {
            return;
        };
        check(&done, &texts);
        if let Ok(Completion { text, logprobs, .. }) = &done {
            assert!(request.stop.iter().all(|stop| !text.contains(stop)));
            let is_free = !matches!(
                request.constraint,
                Some(safer_instruct::Constraint::Choice(_))
            );
            assert!(is_free || CONTINUATIONS.contains(&text.as_str()));
            let wanted = request.top_logprobs;
            assert!(logprobs.is_none() || wanted.is_some());
            assert!(
                logprobs
                    .iter()
                    .flatten()
                    .all(|token| Some(token.top.len()) <= wanted)
            );
        }
    }
});
