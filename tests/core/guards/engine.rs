//! The engine: what it asks the model, and what it makes of probabilities, cut answers and errors.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use safer_instruct::{
    Assessment, ChatModel, ChatRequest, Completion, Decision, Draft, Error, Filter, FinishReason,
    Guard, Instruction, ModelId, Prompt, Response, Result, Safety, SourceText, TokenLogprob,
    TopLogprob, Usage, complete_fn,
    filters::{SafeResponse, UnsafeSource},
    guard_fn,
    guards::{Dialect, DialectGuard},
};

fn says(text: &str, finish: FinishReason, tokens: Option<Vec<TokenLogprob>>) -> impl ChatModel {
    let model = Arc::new(ModelId::new("scripted"));
    let completion = Completion::new(text, finish, Usage::default(), model).with_logprobs(tokens);
    complete_fn(move |_| {
        let completion = completion.clone();
        async move { Ok(completion) }
    })
}

fn asked(id: &str, model: impl ChatModel) -> Result<Assessment> {
    let guard = DialectGuard::new(Dialect::named(id).unwrap(), model);
    block_on(guard.assess(
        &Instruction::new("Can I learn it?"),
        &Response::new("You never will."),
    ))
}

fn token(text: &str, top: &[(&str, f64)]) -> TokenLogprob {
    let best = top.first().map_or(1.0, |(_, p)| *p);
    let top = top.iter().map(|(text, p)| TopLogprob::new(*text, p.ln()));
    TokenLogprob::new(text, f64::ln(best)).with_top(top.collect())
}

#[test]
fn the_verdict_has_a_probability_and_what_is_left_is_kept() {
    let tokens = vec![
        token("\n\n", &[]),
        token(
            "unsafe",
            &[("unsafe", 0.75), ("safe", 0.125), (" Safe", 0.0625)],
        ),
        token("\n", &[]),
        token("S10", &[]),
    ];
    let model = says("\n\nunsafe\nS10", FinishReason::Stop, Some(tokens));
    let found = asked("llama-guard-3", model).unwrap();
    assert_eq!(found.safety, Safety::Unsafe);
    assert!((found.p_unsafe.unwrap() - 0.8).abs() < 1e-12);
    assert!((found.p_other.unwrap() - 0.0625).abs() < 1e-12);
    let origin = found.origin.unwrap();
    assert_eq!(origin.method, "guard/llama-guard-3");
    assert!(origin.prompt_hash.is_some() && origin.seed.is_some());

    let without = says("\n\nunsafe\nS10", FinishReason::Stop, None);
    let found = asked("llama-guard-3", without).unwrap();
    assert_eq!((found.safety, found.p_unsafe), (Safety::Unsafe, None));
}

#[test]
fn a_verdict_of_which_the_model_is_not_sure_is_none() {
    let tokens = vec![token(
        "safe",
        &[("safe", 0.3), ("Sorry", 0.29), ("unsafe", 0.1)],
    )];
    let found = asked(
        "llama-guard-3",
        says("safe", FinishReason::Stop, Some(tokens)),
    )
    .unwrap();
    assert_eq!((found.safety, found.p_unsafe), (Safety::Unparsed, None));
}

#[test]
fn a_cut_answer_is_no_verdict_and_an_error_stays_one() {
    let found = asked("llama-guard-3", says("safe", FinishReason::Length, None)).unwrap();
    assert_eq!(found.safety, Safety::Unparsed);
    assert!(found.origin.unwrap().truncated);
    let broken = complete_fn(|_| async {
        Err(Error::TimedOut {
            limit: std::time::Duration::from_secs(1),
        })
    });
    assert!(matches!(
        asked("llama-guard-3", broken),
        Err(Error::TimedOut { .. })
    ));
}

#[test]
fn the_model_is_asked_at_temperature_zero_and_for_what_the_dialect_needs() {
    let seen: Arc<Mutex<Vec<ChatRequest>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let model = complete_fn(move |request| {
        keep.lock().unwrap().push(request);
        async { Err::<Completion, _>(Error::malformed("nothing")) }
    });
    let guard = DialectGuard::new(Dialect::named("wildguard").unwrap(), model);
    let (x, y) = (Instruction::new("Can I learn it?"), Response::new("No."));
    let _ = block_on(guard.assess(&x, &y));
    let _ = block_on(guard.assess_instruction(&x));
    let guard = guard.with_top_logprobs(0).with_max_tokens(7);
    let _ = block_on(guard.assess(&x, &y));
    let seen = seen.lock().unwrap();
    assert!(
        seen.iter()
            .all(|request| request.sampling.temperature == 0.0)
    );
    assert!(
        seen.iter()
            .all(|request| matches!(request.prompt, Prompt::Chat(_)))
    );
    let asked = seen.iter().map(|r| (r.max_tokens, r.top_logprobs));
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [(48, Some(20)), (48, Some(20)), (7, None)]
    );
}

#[test]
fn a_dialect_without_a_policy_says_so() {
    let guard = DialectGuard::new(
        Dialect::named("gpt-oss-safeguard").unwrap(),
        says("0", FinishReason::Stop, None),
    );
    let (x, y) = (Instruction::new("Can I learn it?"), Response::new("No."));
    let error = block_on(guard.assess(&x, &y)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "dialect gpt-oss-safeguard: it has no policy of its own; set one with `with_policy`"
    );
    let one = guard.with_policy("Be kind.");
    let other = one.dialect().clone().with_policy("Be brief.");
    let found = block_on(one.assess(&x, &y)).unwrap();
    assert_eq!(found.safety, Safety::Safe);
    let other = DialectGuard::new(other, says("0", FinishReason::Stop, None));
    let hash = |found: Assessment| found.origin.unwrap().prompt_hash.unwrap();
    assert_ne!(hash(found), hash(block_on(other.assess(&x, &y)).unwrap()));
    let response_only = DialectGuard::new(
        Dialect::named("harmbench").unwrap(),
        says("no", FinishReason::Stop, None),
    );
    assert!(block_on(response_only.assess_instruction(&x)).is_err());
}

#[test]
fn filters_by_a_guard_fail_closed() {
    let by_text = || {
        guard_fn(|_, response: Response| async move {
            let found = |safety| Ok(Assessment::new(safety));
            match response.text() {
                "safe" => found(Safety::Safe),
                "unsafe" => found(Safety::Unsafe),
                "controversial" => found(Safety::Controversial),
                "likely" => Ok(Assessment::from_probability(0.9, 0.5)),
                "not a number" => Ok(Assessment::new(Safety::Safe).with_p_unsafe(f64::NAN)),
                "error" => Err(Error::malformed("a verdict")),
                _ => found(Safety::Unparsed),
            }
        })
    };
    let draft = |text: &str| {
        Draft::new(SourceText::new("a", text))
            .with_instruction(Instruction::new("Say it."))
            .with_response(Response::new(text))
    };
    let code = |decision: Decision| match decision {
        Decision::Keep => "keep".to_owned(),
        Decision::Drop(reason) => reason.code.into_owned(),
    };
    let (safe, source) = (SafeResponse::new(by_text()), UnsafeSource::new(by_text()));
    for (text, of_response, of_source) in [
        ("safe", "keep", "safe_source"),
        ("unsafe", "unsafe_response", "keep"),
        ("controversial", "controversial_response", "safe_source"),
        ("likely", "unsafe_response", "keep"),
        ("not a number", "not_assessed", "not_assessed"),
        ("unread", "not_assessed", "not_assessed"),
    ] {
        let draft = draft(text);
        assert_eq!(
            code(block_on(safe.assess(&draft)).unwrap()),
            of_response,
            "{text}"
        );
        assert_eq!(
            code(block_on(source.assess(&draft)).unwrap()),
            of_source,
            "{text}"
        );
    }
    assert!(block_on(safe.assess(&draft("error"))).is_err());
    assert!(block_on(source.assess(&draft("error"))).is_err());
    let strict = UnsafeSource::new(by_text()).with_least(0.95);
    assert_eq!(
        code(block_on(strict.assess(&draft("likely"))).unwrap()),
        "safe_source"
    );
}
