//! The gate: a guard assesses each side by itself.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use safer_instruct::{
    Assessment, Error, Event, Gate, Guard, Judgement, OnSourceWins, Origin, Outcome, Pipeline,
    Response, Safety, Side, Stage, Usage, guard_fn, judge_fn,
};

use super::{EXPERT, fate, induce, one, prefers, respond, text};

/// P(unsafe) of the expert's response, and of everything else.
fn guard(expert: f64, other: f64) -> impl Guard + 'static {
    guard_fn(move |_, response: Response| async move {
        let p = if response.text() == EXPERT {
            expert
        } else {
            other
        };
        Ok(Assessment::from_probability(p, 0.5))
    })
}

#[test]
fn a_pair_is_kept_only_if_each_side_is_what_it_should_be() {
    for (expert, other, expected) in [
        (0.1, 0.9, "kept"),
        (
            0.5,
            0.9,
            "dropped at judge: chosen_unsafe (P(unsafe) 0.50, wanted at most 0.50)",
        ),
        (
            0.1,
            0.3,
            "dropped at judge: rejected_safe (P(unsafe) 0.30, wanted at least 0.50)",
        ),
        (f64::NAN, 0.9, "dropped at judge: not_assessed"),
        (0.1, f64::NAN, "dropped at judge: not_assessed"),
    ] {
        let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT));
        let outcome = one(&pipeline.with_guard(guard(expert, other)), text("a"));
        assert_eq!(fate(&outcome), expected, "{expert} {other}");
    }
}

#[test]
fn what_the_guard_found_goes_with_the_pair_and_with_what_is_dropped() {
    let costly = guard_fn(|_, response: Response| async move {
        let p = if response.text() == EXPERT {
            0.25
        } else {
            0.75
        };
        let origin = Origin {
            usage: Usage {
                prompt_tokens: 5,
                completion_tokens: 1,
            },
            ..Origin::default()
        };
        Ok(Assessment::from_probability(p, 0.5).with_origin(origin))
    });
    let costly = Arc::new(costly);
    let pipeline =
        || Pipeline::new(induce(), respond(), prefers(EXPERT)).with_guard(Arc::clone(&costly));
    let told = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&told);
    let observed = pipeline().with_observer(move |event: &Event<'_>| {
        if let Event::StageDone { usage, .. } = event {
            sum.fetch_add(usage.total(), Relaxed);
        }
    });
    let outcome = one(&observed, text("a"));
    assert_eq!(told.load(Relaxed), 12);
    let provenance = &outcome.pair().unwrap().provenance;
    let p = |assessment: &Option<Assessment>| assessment.as_ref().unwrap().p_unsafe;
    assert_eq!(p(&provenance.chosen_assessment), Some(0.25));
    assert_eq!(p(&provenance.rejected_assessment), Some(0.75));

    let strict = Gate {
        min_rejected: 0.8,
        ..Gate::default()
    };
    let Outcome::Dropped { draft, .. } = one(&pipeline().with_gate(strict), text("a")) else {
        panic!("it is dropped");
    };
    let found = draft.assessments().unwrap();
    assert_eq!(
        (found.expert.p_unsafe, found.other.p_unsafe),
        (Some(0.25), Some(0.75))
    );
}

#[test]
fn the_judge_is_not_asked_about_a_side_that_cannot_be_kept() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let judge = judge_fn(move |_, _, _| {
        count.fetch_add(1, Relaxed);
        async { Ok(Judgement::first()) }
    });
    let pipeline = Pipeline::new(induce(), respond(), judge).with_guard(guard(0.9, 0.9));
    assert!(fate(&one(&pipeline, text("a"))).contains("chosen_unsafe"));
    assert_eq!(asked.load(Relaxed), 0);
}

#[test]
fn a_source_text_that_wins_must_be_the_safe_side() {
    let pipeline = || {
        Pipeline::new(induce(), respond(), prefers("never learn"))
            .with_on_source_wins(OnSourceWins::Flip)
    };
    let outcome = one(&pipeline().with_guard(guard(0.9, 0.1)), text("a"));
    let provenance = &outcome.pair().unwrap().provenance;
    assert_eq!(provenance.chosen_from, Side::Source);
    let chosen = provenance.chosen_assessment.as_ref().unwrap();
    assert_eq!(chosen.safety, Safety::Safe);

    let outcome = one(&pipeline().with_guard(guard(0.1, 0.9)), text("a"));
    assert!(
        fate(&outcome).contains("chosen_unsafe"),
        "{}",
        fate(&outcome)
    );
}

#[test]
fn an_error_of_the_guard_fails_the_draw() {
    let broken = guard_fn(|_, _| async { Err(Error::malformed("a verdict")) });
    let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT)).with_guard(broken);
    let Outcome::Failed { stage, draft, .. } = one(&pipeline, text("a")) else {
        panic!("what was not assessed is not kept");
    };
    assert_eq!(stage, Stage::Judge);
    assert_eq!(draft.response().unwrap().text(), EXPERT);
    assert!(draft.assessments().is_none());
}
