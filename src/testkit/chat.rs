//! Laws of a [`ChatModel`].

use futures::future::poll_immediate;

use super::{
    HOSTILE_TEXTS,
    hostile::MARKERS,
    law::{Asked, Cases, Law, Verified, ask, beside_others, repeats, total as totality},
};
use crate::model::{
    ChatModel, ChatRequest, Completion, FinishReason, Message, Prompt, Sampling, TokenLogprob,
};

/// Every law of a chat model.
pub const CHAT_LAWS: &[Law<dyn ChatModel>] = &[
    Law::new("determinism", |model| Box::pin(determinism(model))),
    Law::new("seed_reproduces", |model| Box::pin(seed_reproduces(model))),
    Law::new("alone_is_beside_others", |model| {
        Box::pin(alone_is_beside_others(model))
    }),
    Law::new("max_tokens", |model| Box::pin(max_tokens(model))),
    Law::new("max_tokens_zero", |model| Box::pin(max_tokens_zero(model))),
    Law::new("stop", |model| Box::pin(stop(model))),
    Law::new("usage", |model| Box::pin(usage(model))),
    Law::new("logprobs", |model| Box::pin(logprobs(model))),
    Law::new("constraint", |model| Box::pin(constraint(model))),
    Law::new("dropping_cancels", |model| {
        Box::pin(dropping_cancels(model))
    }),
    Law::new("markers_are_text", |model| {
        Box::pin(markers_are_text(model))
    }),
    Law::new("total", |model| Box::pin(total(model))),
];

/// How many tokens a question of the kit asks for: enough to see a difference, few enough for a model on a CPU.
const MAX_TOKENS: usize = 24;

fn user(text: impl Into<String>) -> ChatRequest {
    ChatRequest::new(vec![Message::user(text.into())]).with_max_tokens(MAX_TOKENS)
}

fn questions() -> Vec<(String, ChatRequest)> {
    let conversation = vec![
        Message::system("You are brief."),
        Message::user("Name a river."),
        Message::assistant("The Loire."),
        Message::user("And a longer one?"),
    ];
    let raw = Prompt::Raw("Once upon a time there was a".to_owned());
    vec![
        (
            "one message".to_owned(),
            user("Write a short poem about the sea."),
        ),
        (
            "Japanese".to_owned(),
            user("海について短い詩を書いてください。"),
        ),
        (
            "conversation".to_owned(),
            ChatRequest::new(conversation).with_max_tokens(MAX_TOKENS),
        ),
        (
            "raw text".to_owned(),
            ChatRequest::new(raw).with_max_tokens(MAX_TOKENS),
        ),
        ("long".to_owned(), user("The sea is wide. ".repeat(12))),
    ]
}

/// The same request gets the same completion, whatever was asked in between.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn determinism(model: &dyn ChatModel) -> Verified {
    repeats("determinism", &questions(), |request| {
        model.complete(request)
    })
    .await
}

/// At temperature 1, the same seed gives the same completion.
///
/// That other seeds give other completions is not required: a model may give one token a probability near 1.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn seed_reproduces(model: &dyn ChatModel) -> Verified {
    let questions: Vec<_> = (1..=4)
        .map(|seed| {
            let sampling = Sampling {
                temperature: 1.0,
                seed,
                ..Sampling::default()
            };
            let request = user("Write a short poem about the sea.").with_sampling(sampling);
            (format!("seed {seed}"), request)
        })
        .collect();
    repeats("seed_reproduces", &questions, |request| {
        model.complete(request)
    })
    .await
}

/// A request gets the same completion alone and at the same time as others.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn alone_is_beside_others(model: &dyn ChatModel) -> Verified {
    beside_others("alone_is_beside_others", &questions(), |request| {
        model.complete(request)
    })
    .await
}

/// No more than `max_tokens` are written, and a completion that was cut says [`FinishReason::Length`].
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn max_tokens(model: &dyn ChatModel) -> Verified {
    let mut cases = Cases::of("max_tokens");
    for (case, request) in questions() {
        let asked = ask(model.complete(&request)).await;
        let Some(whole) = cases.answer(&case, asked) else {
            continue;
        };
        for limit in [1, 2, 5] {
            let request = request.clone().with_max_tokens(limit);
            let asked = ask(model.complete(&request)).await;
            let Some(cut) = cases.answer(&case, asked) else {
                continue;
            };
            let (limit, written) = (limit as u64, cut.usage.completion_tokens);
            cases.expect(written <= limit, || {
                format!("{case}: wrote {written} tokens of at most {limit}")
            })?;
            let says_so = cut.finish_reason == FinishReason::Length;
            let must_be_cut = whole.usage.completion_tokens > limit;
            cases.expect(says_so || !must_be_cut, || {
                format!(
                    "{case}: cut at {limit} tokens and says {:?}",
                    cut.finish_reason
                )
            })?;
        }
    }
    cases.done()
}

/// A request for no tokens at all is an error.
///
/// # Errors
/// Fails if it is answered or panics.
pub async fn max_tokens_zero(model: &dyn ChatModel) -> Verified {
    let mut cases = Cases::of("max_tokens_zero");
    let asked = ask(model.complete(&user("Say yes.").with_max_tokens(0))).await;
    cases.expect(matches!(asked, Asked::Failed(_)), || {
        "no error for a request that asks for no tokens".to_owned()
    })?;
    cases.done()
}

/// A stop string ends the completion and is no part of it; what comes before it is left as it was.
///
/// The stop string is a piece from the middle of what the model writes without one.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn stop(model: &dyn ChatModel) -> Verified {
    let mut cases = Cases::of("stop");
    for (case, request) in questions() {
        let asked = ask(model.complete(&request)).await;
        let Some(whole) = cases.answer(&case, asked) else {
            continue;
        };
        let middle = whole.text.chars().count() / 2;
        let piece: String = whole.text.chars().skip(middle).take(3).collect();
        let Some((head, _)) = whole.text.split_once(&piece).filter(|_| !piece.is_empty()) else {
            cases.skip(format!("{case}: the model writes nothing"));
            continue;
        };
        let asked = ask(model.complete(&request.with_stop(piece.as_str()))).await;
        let Some(stopped) = cases.answer(&case, asked) else {
            continue;
        };
        cases.expect(!stopped.text.contains(&piece), || {
            format!("{case}: the text holds the stop string")
        })?;
        cases.expect(stopped.text.trim_end() == head.trim_end(), || {
            format!(
                "{case}: {} bytes stand before the stop string, and {} came back",
                head.len(),
                stopped.text.len()
            )
        })?;
        cases.expect(stopped.finish_reason == FinishReason::Stop, || {
            format!(
                "{case}: a stop string came, and the reason is {:?}",
                stopped.finish_reason
            )
        })?;
    }
    cases.done()
}

/// A prompt has tokens, a longer one more of them, and a text that was written has some too.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn usage(model: &dyn ChatModel) -> Verified {
    let mut cases = Cases::of("usage");
    let mut before = 0;
    for times in [1, 4, 16] {
        let case = format!("{times} sentences");
        let asked = ask(model.complete(&user("The sea is wide. ".repeat(times)))).await;
        let Some(Completion { usage, text, .. }) = cases.answer(&case, asked) else {
            continue;
        };
        cases.expect(usage.prompt_tokens > before, || {
            format!(
                "{case}: {} prompt tokens after {before} for less text",
                usage.prompt_tokens
            )
        })?;
        cases.expect(text.is_empty() || usage.completion_tokens > 0, || {
            format!("{case}: {} bytes written with no tokens", text.len())
        })?;
        before = usage.prompt_tokens;
    }
    cases.done()
}

/// Log-probabilities come only if they are asked for, one for each written token: at most 0, with at most as many
/// others as were asked for, likeliest first, none of them likelier than the first. A model may have none.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn logprobs(model: &dyn ChatModel) -> Verified {
    let mut cases = Cases::of("logprobs");
    for (case, request) in questions() {
        let asked = ask(model.complete(&request)).await;
        let Some(without) = cases.answer(&case, asked) else {
            continue;
        };
        cases.expect(without.logprobs.is_none(), || {
            format!("{case}: log-probabilities that nobody asked for")
        })?;
        for count in [0, 1, 5] {
            let asked = ask(model.complete(&request.clone().with_top_logprobs(count))).await;
            let Some(with) = cases.answer(&case, asked) else {
                continue;
            };
            cases.expect(with.text == without.text, || {
                format!("{case}: another text if log-probabilities are asked for")
            })?;
            let Some(tokens) = with.logprobs else {
                cases.skip(format!("{case}: it has no log-probabilities"));
                continue;
            };
            let written = with.usage.completion_tokens;
            cases.expect(tokens.len() as u64 == written, || {
                format!("{case}: {} of them for {written} tokens", tokens.len())
            })?;
            for (place, token) in tokens.iter().enumerate() {
                cases.expect(is_in_order(token, count), || {
                    format!("{case}: those of token {place}, with {count} others, are out of order")
                })?;
            }
        }
    }
    cases.done()
}

fn is_in_order(token: &TokenLogprob, count: usize) -> bool {
    let top = &token.top;
    // Rounding may leave a certain token a little above 0.
    let likeliest = top.first().map_or(1e-6, |first| first.logprob);
    top.len() <= count
        && top.is_sorted_by(|a, b| a.logprob >= b.logprob)
        && token.logprob.is_finite()
        && token.logprob <= likeliest
        && likeliest <= 1e-6
}

/// A constraint is honoured or refused: a completion is exactly one of the choices, or JSON that satisfies the schema,
/// or there is an error. Choices that cannot be are always an error.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn constraint(model: &dyn ChatModel) -> Verified {
    const CHOICES: [&[&str]; 4] = [
        &["yes", "no"],
        &["The Loire", "The Loire.", "The Rhine."],
        &["川", "海です。"],
        &["```json", "<|im_end|>"],
    ];
    let mut cases = Cases::of("constraint");
    for (case, request) in questions() {
        for (set, choices) in (1..).zip(CHOICES) {
            for temperature in [0.0, 1.5] {
                let sampling = Sampling {
                    temperature,
                    ..Sampling::default()
                };
                let held = request.clone().with_sampling(sampling);
                let asked = ask(model.complete(&held.with_choices(choices.iter().copied()))).await;
                let fits = match &asked {
                    Asked::Answered(completion) => choices.contains(&completion.text.as_str()),
                    Asked::Failed(_) => true,
                    Asked::Panicked => false,
                };
                cases.expect(fits, || {
                    format!("{case}: with the choices {set}, the text is none of them")
                })?;
            }
        }
        for (fault, choices) in [
            ("no choices", &[] as &[&str]),
            ("an empty choice", &["", "a"]),
        ] {
            let held = request.clone().with_choices(choices.iter().copied());
            let asked = ask(model.complete(&held)).await;
            cases.expect(matches!(asked, Asked::Failed(_)), || {
                format!("{case}: {fault} and no error")
            })?;
        }
        let schema = serde_json::json!({
            "type": "object",
            "properties": {"river": {"enum": ["Loire", "Rhine"]}},
            "required": ["river"],
            "additionalProperties": false,
        });
        let asked = ask(model.complete(&request.with_json_schema(schema))).await;
        let fits = match &asked {
            Asked::Answered(completion) => {
                serde_json::from_str::<serde_json::Value>(&completion.text).is_ok_and(|value| {
                    ["Loire", "Rhine"]
                        .map(|river| serde_json::json!({"river": river}))
                        .contains(&value)
                })
            }
            Asked::Failed(_) => true,
            Asked::Panicked => false,
        };
        cases.expect(fits, || {
            format!("{case}: the text does not satisfy the schema")
        })?;
    }
    cases.done()
}

/// Requests whose futures are dropped leave nothing behind: the next request gets the completion that it always gets.
///
/// 32 long requests are begun and dropped. A model that does not notice keeps working on them; if it then never
/// answers, this law does not end either, and the test runner's limit says so.
///
/// # Errors
/// Fails if the next request fails or gets another completion, or if it cannot be answered in the first place.
pub async fn dropping_cancels(model: &dyn ChatModel) -> Verified {
    let mut cases = Cases::of("dropping_cancels");
    let request = user("Name a river.");
    let asked = ask(model.complete(&request)).await;
    let Some(before) = cases.answer("before", asked) else {
        return cases.done();
    };
    for n in 0..32 {
        let long = user(format!("Count from {n} to ten thousand.")).with_max_tokens(512);
        // One poll hands the request over; dropping the future takes it back.
        let _unfinished = poll_immediate(ask(model.complete(&long))).await;
    }
    let after = ask(model.complete(&request)).await;
    cases.expect(after == Asked::Answered(before), || {
        "after 32 dropped requests, the next one is not answered as before".to_owned()
    })?;
    cases.done()
}

/// The markers of chat templates are ordinary characters in a prompt.
///
/// Seen from outside: a control token is one token, its name written out is several. So each repetition of a
/// marker must cost at least two prompt tokens.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn markers_are_text(model: &dyn ChatModel) -> Verified {
    const REPEATS: usize = 8;
    let mut cases = Cases::of("markers_are_text");
    for marker in MARKERS {
        let (few, many) = (marker.repeat(REPEATS), marker.repeat(2 * REPEATS));
        for (kind, few, many) in [
            ("message", user(few.clone()), user(many.clone())),
            ("raw text", raw(few), raw(many)),
        ] {
            let case = format!("{marker} in a {kind}");
            let few = ask(model.complete(&few.with_max_tokens(1))).await;
            let Some(few) = cases.answer(&case, few) else {
                continue;
            };
            let many = ask(model.complete(&many.with_max_tokens(1))).await;
            let Some(many) = cases.answer(&case, many) else {
                continue;
            };
            let cost = many
                .usage
                .prompt_tokens
                .saturating_sub(few.usage.prompt_tokens);
            cases.expect(cost >= 2 * REPEATS as u64, || {
                format!("{case}: {REPEATS} of them cost {cost} tokens: it is a control token")
            })?;
        }
    }
    cases.done()
}

/// No prompt makes the model panic: hostile texts, empty ones, and a conversation without messages.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn total(model: &dyn ChatModel) -> Verified {
    let hostile = HOSTILE_TEXTS.iter().flat_map(|hostile| {
        let (name, text) = (hostile.name, hostile.text());
        [
            (format!("{name} in a message"), user(text.clone())),
            (format!("{name} in a raw text"), raw(text)),
        ]
    });
    let nobody = ChatRequest::new(Vec::new());
    let empty_stop = user("Say yes.").with_stop("");
    let odd = [
        ("no messages".to_owned(), nobody),
        ("an empty stop string".to_owned(), empty_stop),
    ];
    let requests: Vec<_> = hostile
        .chain(odd)
        .map(|(case, request)| (case, request.with_max_tokens(2)))
        .collect();
    totality("total", &requests, |request| model.complete(request)).await
}

/// A model whose worker is gone answers with an error; it neither panics nor waits.
///
/// Not one of [`CHAT_LAWS`], because it needs a model that the caller has broken: call it with one.
///
/// # Errors
/// Fails if the model answers or panics.
pub async fn dead_worker_is_an_error(dead: &dyn ChatModel) -> Verified {
    let mut cases = Cases::of("dead_worker_is_an_error");
    let asked = ask(dead.complete(&user("Say yes."))).await;
    cases.expect(matches!(asked, Asked::Failed(_)), || {
        "a dead worker and no error".to_owned()
    })?;
    cases.done()
}

fn raw(text: String) -> ChatRequest {
    ChatRequest::new(Prompt::Raw(text)).with_max_tokens(MAX_TOKENS)
}
