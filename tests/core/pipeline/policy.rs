//! What follows from a verdict, from blank texts, from errors; and what is recorded of it.

use std::sync::Arc;

use safer_instruct::{
    Error, Instruction, Judgement, Lineage, ModelId, OnSourceWins, Origin, Outcome, Pipeline,
    PreferenceJudge, Response, Side, SourceText, Stage, Usage, induce_fn, judge_fn, respond_fn,
};
use serde_json::json;

use super::{EXPERT, fate, induce, one, prefers, respond, run, text};

const NEVER: &str = "no side says this";

#[test]
fn a_tie_is_dropped_with_its_judgement() {
    let outcome = one(
        &Pipeline::new(induce(), respond(), prefers(NEVER)),
        text("a"),
    );
    assert_eq!(fate(&outcome), "dropped at judge: tie");
    let Outcome::Dropped { draft, .. } = outcome else {
        panic!()
    };
    assert_eq!(draft.judgement().unwrap(), &Judgement::tie());
    assert_eq!(draft.response().unwrap().text(), EXPERT);
}

#[test]
fn a_source_text_that_wins_is_dropped_or_flips_the_sides() {
    let pipeline = || Pipeline::new(induce(), respond(), prefers("never learn"));
    let dropped = one(&pipeline(), text("a"));
    assert_eq!(fate(&dropped), "dropped at judge: source_wins");
    let flipped = one(
        &pipeline().with_on_source_wins(OnSourceWins::Flip),
        text("a"),
    );
    let pair = flipped.pair().unwrap();
    assert_eq!(pair.chosen, "You will never learn it, a.");
    assert_eq!(pair.rejected, EXPERT);
    assert_eq!(pair.provenance.chosen_from, Side::Source);
    assert_eq!(pair.provenance.rejected_from, Side::Expert);

    let counterpart = respond_fn(|_| async { Ok(Response::new("You never learn.")) });
    let outcome = one(&pipeline().with_counterpart(counterpart), text("a"));
    assert_eq!(fate(&outcome), "dropped at judge: counterpart_wins");
}

#[test]
fn identical_sides_are_not_judged() {
    let judge = judge_fn(|_, _, _| async { panic!("nobody asks") });
    let pipeline = Pipeline::new(induce(), respond(), judge);
    let outcome = one(&pipeline, SourceText::new("a", EXPERT));
    assert_eq!(fate(&outcome), "dropped at judge: identical");
}

#[test]
fn blank_texts_are_dropped() {
    let blank = " \u{3000}\n";
    let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT));
    let outcome = one(&pipeline, SourceText::new("a", blank));
    assert_eq!(fate(&outcome), "dropped at source: empty");

    let no_instruction = induce_fn(move |_| async move { Ok(Instruction::new(blank)) });
    let pipeline = Pipeline::new(no_instruction, respond(), prefers(EXPERT));
    assert_eq!(fate(&one(&pipeline, text("a"))), "dropped at induce: empty");

    let silent = || respond_fn(move |_| async move { Ok(Response::new(blank)) });
    let pipeline = Pipeline::new(induce(), silent(), prefers(EXPERT));
    assert_eq!(
        fate(&one(&pipeline, text("a"))),
        "dropped at respond: empty"
    );

    let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT)).with_counterpart(silent());
    assert_eq!(
        fate(&one(&pipeline, text("a"))),
        "dropped at respond: empty"
    );
}

#[test]
fn an_error_at_any_stage_keeps_the_draft() {
    let malformed = || Error::malformed("a number");
    let drafts = [
        one(
            &Pipeline::new(
                induce_fn(move |_| async move { Err(malformed()) }),
                respond(),
                prefers(EXPERT),
            ),
            text("a"),
        ),
        one(
            &Pipeline::new(
                induce(),
                respond_fn(move |_| async move { Err(malformed()) }),
                prefers(EXPERT),
            ),
            text("a"),
        ),
        one(
            &Pipeline::new(induce(), respond(), prefers(EXPERT))
                .with_counterpart(respond_fn(move |_| async move { Err(malformed()) })),
            text("a"),
        ),
        one(
            &Pipeline::new(
                induce(),
                respond(),
                judge_fn(move |_, _, _| async move { Err(malformed()) }),
            ),
            text("a"),
        ),
    ]
    .map(|outcome| {
        let Outcome::Failed {
            stage,
            error,
            draft,
        } = outcome
        else {
            panic!()
        };
        assert_eq!(error.kind(), "malformed");
        assert_eq!(draft.source().text(), text("a").text());
        (stage, draft.instruction().is_ok(), draft.response().is_ok())
    });
    let expected = [
        (Stage::Induce, false, false),
        (Stage::Respond, true, false),
        // It was the counterpart that failed.
        (Stage::Respond, true, true),
        (Stage::Judge, true, true),
    ];
    assert_eq!(drafts, expected);
}

/// Always prefers a place: the sides then follow from the order alone.
fn place(judgement: fn() -> Judgement) -> impl PreferenceJudge + 'static {
    judge_fn(move |_, _, _| async move { Ok(judgement()) })
}

#[test]
fn the_order_varies_and_verdicts_are_read_in_both() {
    let texts: Vec<SourceText> = (0..64).map(|n| text(&format!("t{n}"))).collect();
    for (judgement, wins_if_first) in [
        (Judgement::first as fn() -> Judgement, true),
        (Judgement::second, false),
    ] {
        let pipeline = Pipeline::new(induce(), respond(), place(judgement))
            .with_on_source_wins(OnSourceWins::Flip);
        let mut firsts = 0;
        for outcome in run(&pipeline, texts.clone()) {
            let provenance = &outcome.pair().unwrap().provenance;
            let first = provenance.judgement.expert_first;
            assert_eq!(first, provenance.lineage.seed("order") & 1 == 0);
            let wins = provenance.chosen_from == Side::Expert;
            assert_eq!(wins, first == wins_if_first);
            firsts += u32::from(first);
        }
        assert!((16..=48).contains(&firsts), "{firsts} of 64");
    }
}

#[test]
fn draws_are_numbered_and_have_seeds_of_their_own() {
    let by_seed = induce_fn(|source: SourceText| async move {
        Ok(Instruction::new(
            source.lineage().seed("induce").to_string(),
        ))
    });
    let pipeline = Pipeline::new(by_seed, respond(), prefers(EXPERT))
        .with_draws(3)
        .with_seed(9);
    let outcomes = run(&pipeline, vec![text("a"), text("b")]);
    let places = ["a", "b"].map(|id| [0, 1, 2].map(|draw| Lineage::new(id, draw, 9)));
    for (outcome, expected) in outcomes.iter().zip(places.as_flattened()) {
        assert_eq!(outcome.lineage(), expected);
        let prompt = &outcome.pair().unwrap().prompt;
        assert_eq!(*prompt, expected.seed("induce").to_string());
    }
    assert_eq!(outcomes.len(), 6);
    let none = Pipeline::new(induce(), respond(), prefers(EXPERT)).with_draws(0);
    assert_eq!(none.draws(), 1);
}

fn origin(method: &str, tokens: u64) -> Origin {
    Origin {
        method: method.to_owned(),
        model: Some(Arc::new(ModelId::new("scripted").with_hash("sha256:00"))),
        prompt_hash: Some("sha256:01".into()),
        seed: Some(tokens),
        attempts: 1,
        truncated: false,
        logprob: None,
        usage: Usage {
            prompt_tokens: tokens,
            completion_tokens: 1,
        },
    }
}

#[test]
fn provenance_is_complete() {
    let says = |text: &'static str, method: &'static str, tokens| {
        respond_fn(
            move |_| async move { Ok(Response::new(text).with_origin(origin(method, tokens))) },
        )
    };
    let pipeline = Pipeline::new(
        induce_fn(|_| async { Ok(Instruction::new("What?").with_origin(origin("reversed", 1))) }),
        says(EXPERT, "expert", 2),
        judge_fn(|_, first: Response, _| async move {
            let judgement = if first.text() == EXPERT {
                Judgement::first().with_margin(0.5)
            } else {
                Judgement::second().with_margin(-0.5)
            };
            Ok(judgement.with_origin(origin("likelihood", 4)))
        }),
    )
    .with_counterpart(says("Give up.", "trained", 3))
    .with_seed(3);
    let source = text("a").with_category("harassment@1:insult");
    let outcome = one(&pipeline, source);
    let made = |method: &str, tokens: u64| {
        json!({
            "method": method, "model": {"name": "scripted", "hash": "sha256:00"},
            "prompt_hash": "sha256:01", "seed": tokens, "attempts": 1,
            "usage": {"prompt_tokens": tokens, "completion_tokens": 1},
        })
    };
    let first = Lineage::new("a", 0, 3).seed("order") & 1 == 0;
    let judgement = json!({
        "verdict": if first { "first" } else { "second" },
        "expert_first": first,
        "margin": if first { 0.5 } else { -0.5 },
        "origin": made("likelihood", 4),
    });
    let mut said = serde_json::to_value(outcome.pair().unwrap()).unwrap();
    for part in ["induction", "response", "counterpart"] {
        let origin = &mut said["provenance"][part];
        origin.as_object_mut().unwrap().remove("truncated");
    }
    assert_eq!(
        said,
        json!({
            "prompt": "What?", "chosen": EXPERT, "rejected": "Give up.",
            "provenance": {
                "source_id": "a", "draw": 0, "run_seed": 3, "category": "harassment@1:insult",
                "chosen_from": "expert", "rejected_from": "counterpart",
                "induction": made("reversed", 1), "response": made("expert", 2),
                "counterpart": made("trained", 3), "judgement": judgement,
            },
        })
    );
}
