//! Laws of a [`StateModel`].

use super::{
    HOSTILE_TEXTS,
    law::{Asked, Cases, Law, Verified, ask, beside_others, repeats, total as totality},
};
use crate::model::{Message, Prompt, StateModel, StateRequest};

/// Every law of a model that gives its states. Layer 1 is asked for.
pub const STATE_LAWS: &[Law<dyn StateModel>] = &[
    Law::new("shapes", |model| Box::pin(shapes(model))),
    Law::new("refuses", |model| Box::pin(refuses(model))),
    Law::new("reads_no_more", |model| Box::pin(reads_no_more(model))),
    Law::new("determinism", |model| Box::pin(determinism(model))),
    Law::new("alone_is_beside_others", |model| {
        Box::pin(alone_is_beside_others(model))
    }),
    Law::new("total", |model| Box::pin(total(model))),
];

const CONTINUATION: &str = "The Loire, which is the longest river of France. 川です。";

fn requests() -> Vec<(String, StateRequest)> {
    let chat = vec![Message::user("Name a river.")];
    let japanese = vec![Message::user("川の名前を一つ挙げてください。")];
    let raw = Prompt::Raw("A river that I like is".to_owned());
    [
        ("chat", Prompt::Chat(chat)),
        ("Japanese", Prompt::Chat(japanese)),
        ("raw text", raw),
    ]
    .into_iter()
    .map(|(name, prompt)| {
        (
            name.to_owned(),
            StateRequest::new(prompt, CONTINUATION, [1]),
        )
    })
    .collect()
}

/// There is an entry for each layer of the request, in its order, and all rows are finite numbers, as many each.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn shapes(model: &dyn StateModel) -> Verified {
    let mut cases = Cases::of("shapes");
    for (case, mut request) in requests() {
        for layers in [vec![], vec![1], vec![1, 1]] {
            request.layers = layers;
            let asked = ask(model.states(&request)).await;
            let Some(states) = cases.answer(&case, asked) else {
                continue;
            };
            let got: Vec<_> = states.layers.iter().map(|one| one.layer).collect();
            cases.expect(got == request.layers, || {
                format!("{case}: layers {got:?} for {:?}", request.layers)
            })?;
            let hidden = states.layers.first().map_or(0, |one| one.mean.len());
            let fits = states.layers.iter().all(|one| {
                let rows = [&one.mean, &one.last];
                hidden > 0
                    && rows
                        .iter()
                        .all(|row| row.len() == hidden && row.iter().all(|value| value.is_finite()))
            });
            cases.expect(fits, || {
                format!("{case}: rows of other sizes, or not finite")
            })?;
            let (tokens, read) = (states.tokens as u64, states.usage.prompt_tokens);
            cases.expect(tokens > 0 && read >= tokens, || {
                format!("{case}: {tokens} tokens of {read} read")
            })?;
        }
    }
    cases.done()
}

/// An empty continuation, `max_tokens` of 0, and a layer that cannot be there are errors.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn refuses(model: &dyn StateModel) -> Verified {
    let mut cases = Cases::of("refuses");
    let chat = || vec![Message::user("Name a river.")];
    for (case, request) in [
        ("empty", StateRequest::new(chat(), "", [1])),
        (
            "max_tokens",
            StateRequest::new(chat(), CONTINUATION, [1]).with_max_tokens(0),
        ),
        ("layer 0", StateRequest::new(chat(), CONTINUATION, [0])),
        (
            "last layer",
            StateRequest::new(chat(), CONTINUATION, [usize::MAX]),
        ),
    ] {
        let asked = ask(model.states(&request)).await;
        cases.expect(matches!(asked, Asked::Failed(_)), || {
            format!("{case}: it is no error")
        })?;
    }
    cases.done()
}

/// At most `max_tokens` of the continuation are read, and what comes after them changes nothing.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn reads_no_more(model: &dyn StateModel) -> Verified {
    let mut cases = Cases::of("reads_no_more");
    for (case, request) in requests() {
        let short = request.clone().with_max_tokens(2);
        let mut longer = short.clone();
        longer.continuation.push_str(" It is a long river.");
        let asked = ask(model.states(&short)).await;
        let Some(short) = cases.answer(&case, asked) else {
            continue;
        };
        cases.expect(short.tokens <= 2, || {
            format!("{case}: {} tokens of 2", short.tokens)
        })?;
        let asked = ask(model.states(&longer)).await;
        if let Some(longer) = cases.answer(&case, asked) {
            cases.expect(short == longer, || {
                format!("{case}: what was not read has changed the states")
            })?;
        }
    }
    cases.done()
}

/// The same request gets the same states, to the last bit, whatever was asked in between.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn determinism(model: &dyn StateModel) -> Verified {
    repeats("determinism", &requests(), |request| model.states(request)).await
}

/// A request gets the same states alone and at the same time as others.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn alone_is_beside_others(model: &dyn StateModel) -> Verified {
    beside_others("alone_is_beside_others", &requests(), |request| {
        model.states(request)
    })
    .await
}

/// No prompt and no continuation makes the model panic.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn total(model: &dyn StateModel) -> Verified {
    let requests: Vec<_> = HOSTILE_TEXTS
        .iter()
        .flat_map(|hostile| {
            let (name, text) = (hostile.name, hostile.text());
            let chat = vec![Message::user("Say yes.")];
            [
                (
                    format!("{name} as prompt"),
                    StateRequest::new(Prompt::Raw(text.clone()), "yes", [1]),
                ),
                (
                    format!("{name} as continuation"),
                    StateRequest::new(chat, text, [1]),
                ),
            ]
        })
        .collect();
    totality("total", &requests, |request| model.states(request)).await
}
