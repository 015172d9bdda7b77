//! Laws of a [`ScoringModel`].

use super::{
    HOSTILE_TEXTS,
    law::{Asked, Cases, Law, Verified, ask, beside_others, repeats, total as totality},
};
use crate::model::{Continuation, Message, Prompt, ScoreRequest, ScoringModel};

/// Every law of a scoring model.
pub const SCORING_LAWS: &[Law<dyn ScoringModel>] = &[
    Law::new("one_score_each", |model| Box::pin(one_score_each(model))),
    Law::new("independence", |model| Box::pin(independence(model))),
    Law::new("logprobs", |model| Box::pin(logprobs(model))),
    Law::new("empty", |model| Box::pin(empty(model))),
    Law::new("determinism", |model| Box::pin(determinism(model))),
    Law::new("alone_is_beside_others", |model| {
        Box::pin(alone_is_beside_others(model))
    }),
    Law::new("total", |model| Box::pin(total(model))),
];

/// Nats by which the score of one continuation may differ between two requests: rounding, not meaning.
const TOLERANCE: f64 = 1e-4;

const CONTINUATIONS: &[&str] = &[
    "The Loire.",
    " The Loire, which is the longest river of France.",
    "川です。",
    "no",
];

fn requests() -> Vec<(String, ScoreRequest)> {
    let chat = vec![Message::user("Name a river.")];
    let japanese = vec![Message::user("川の名前を一つ挙げてください。")];
    let raw = Prompt::Raw("A river that I like is".to_owned());
    [
        ("chat", Prompt::Chat(chat)),
        ("Japanese", Prompt::Chat(japanese)),
        ("raw text", raw),
    ]
    .into_iter()
    .map(|(name, prompt)| (name.to_owned(), ask_for(prompt, CONTINUATIONS)))
    .collect()
}

fn ask_for(prompt: Prompt, continuations: &[&str]) -> ScoreRequest {
    ScoreRequest::new(prompt, continuations.iter().copied())
}

/// As many scores come back as continuations were sent: none, one, or several.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn one_score_each(model: &dyn ScoringModel) -> Verified {
    let mut cases = Cases::of("one_score_each");
    for (case, mut request) in requests() {
        while !request.continuations.is_empty() {
            let asked = ask(model.score(&request)).await;
            if let Some(scores) = cases.answer(&case, asked) {
                let (sent, got) = (request.continuations.len(), scores.continuations.len());
                cases.expect(sent == got, || {
                    format!("{case}: {sent} continuations and {got} scores")
                })?;
            }
            request.continuations.pop();
        }
    }
    cases.done()
}

/// A score depends on the prompt and its own continuation, not on the others or their order.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn independence(model: &dyn ScoringModel) -> Verified {
    let mut cases = Cases::of("independence");
    for (case, request) in requests() {
        let asked = ask(model.score(&request)).await;
        let Some(together) = cases.answer(&case, asked) else {
            continue;
        };
        let mut reversed = request.clone();
        reversed.continuations.reverse();
        let asked = ask(model.score(&reversed)).await;
        if let Some(reversed) = cases.answer(&case, asked) {
            for (there, back) in together
                .continuations
                .iter()
                .zip(reversed.continuations.iter().rev())
            {
                cases.expect(equal(there, back), || {
                    format!(
                        "{case}: {} nats, and {} in reverse order",
                        there.logprob, back.logprob
                    )
                })?;
            }
        }
        for (text, beside) in request.continuations.iter().zip(&together.continuations) {
            let asked = ask(model.score(&ask_for(request.prompt.clone(), &[text]))).await;
            let Some(alone) = cases.answer(&case, asked) else {
                continue;
            };
            let same = alone
                .continuations
                .first()
                .is_some_and(|alone| equal(alone, beside));
            cases.expect(same, || {
                format!(
                    "{case}: {} nats beside others, and not so alone",
                    beside.logprob
                )
            })?;
        }
    }
    cases.done()
}

/// Log-likelihoods are finite and at most 0, and a text that is not empty has tokens.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn logprobs(model: &dyn ScoringModel) -> Verified {
    let mut cases = Cases::of("logprobs");
    for (case, request) in requests() {
        let asked = ask(model.score(&request)).await;
        let Some(scores) = cases.answer(&case, asked) else {
            continue;
        };
        for Continuation { logprob, tokens } in scores.continuations {
            cases.expect(
                logprob.is_finite() && logprob <= TOLERANCE && tokens > 0,
                || format!("{case}: {logprob} nats over {tokens} tokens"),
            )?;
        }
        let read = scores.usage.prompt_tokens;
        cases.expect(read > 0, || format!("{case}: {read} tokens read"))?;
    }
    cases.done()
}

/// An empty continuation has no tokens and is certain: 0 nats. It may be an error instead.
///
/// # Errors
/// Fails if it has another score or panics.
pub async fn empty(model: &dyn ScoringModel) -> Verified {
    let mut cases = Cases::of("empty");
    let prompt = Prompt::Raw("A river that I like is".to_owned());
    let asked = ask(model.score(&ask_for(prompt, &[""]))).await;
    let fits = match &asked {
        Asked::Answered(scores) => {
            scores.continuations
                == [Continuation {
                    logprob: 0.0,
                    tokens: 0,
                }]
        }
        Asked::Failed(_) => true,
        Asked::Panicked => false,
    };
    cases.expect(fits, || {
        "an empty continuation is neither certain nor an error".to_owned()
    })?;
    cases.done()
}

/// The same request gets the same scores, to the last bit, whatever was asked in between.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn determinism(model: &dyn ScoringModel) -> Verified {
    repeats("determinism", &requests(), |request| model.score(request)).await
}

/// A request gets the same scores alone and at the same time as others.
///
/// # Errors
/// Fails in the first case that breaks the law, or if no case could be checked.
pub async fn alone_is_beside_others(model: &dyn ScoringModel) -> Verified {
    beside_others("alone_is_beside_others", &requests(), |request| {
        model.score(request)
    })
    .await
}

/// No prompt and no continuation makes the model panic.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn total(model: &dyn ScoringModel) -> Verified {
    let requests = HOSTILE_TEXTS.iter().flat_map(|hostile| {
        let (name, text) = (hostile.name, hostile.text());
        [
            (
                format!("{name} as prompt"),
                ask_for(Prompt::Raw(text.clone()), &["yes"]),
            ),
            (
                format!("{name} as continuation"),
                ask_for(
                    Prompt::Chat(vec![Message::user("Say yes.")]),
                    &[&text, "yes"],
                ),
            ),
        ]
    });
    let nothing = (
        "no continuations".to_owned(),
        ask_for(Prompt::Raw("A".to_owned()), &[]),
    );
    let requests: Vec<_> = requests.chain([nothing]).collect();
    totality("total", &requests, |request| model.score(request)).await
}

fn equal(one: &Continuation, other: &Continuation) -> bool {
    one.tokens == other.tokens && (one.logprob - other.logprob).abs() <= TOLERANCE
}
