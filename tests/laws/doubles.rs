//! What the doubles promise.

use futures::{FutureExt, StreamExt, executor::block_on, future::join_all, stream};
use safer_instruct::{
    ChatModel, ChatRequest, Instruction, InstructionGenerator, Message, Retry, SourceText,
    induce_fn,
    testkit::{Fault, Flaky, Latency, ScriptedModel},
};

fn request(n: usize) -> ChatRequest {
    ChatRequest::new(vec![Message::user(format!("Question {n}"))])
}

/// The results of 200 requests, each made twice.
fn fates(model: &dyn ChatModel, reversed: bool) -> Vec<Vec<Option<Retry>>> {
    let mut order: Vec<usize> = (0..200).collect();
    if reversed {
        order.reverse();
    }
    let mut fates = vec![Vec::new(); 200];
    for _ in 0..2 {
        let asked = order
            .iter()
            .map(|&n| async move { (n, model.complete(&request(n)).await) });
        for (n, fate) in block_on(join_all(asked)) {
            fates[n].push(fate.err().map(|error| error.retry()));
        }
    }
    fates
}

#[test]
fn a_schedule_of_failures_does_not_depend_on_the_order() {
    let flaky = || Flaky::new(ScriptedModel::new("yes"), 11);
    let there = fates(&flaky(), false);
    assert_eq!(there, fates(&flaky(), true));
    assert_ne!(
        there,
        fates(&Flaky::new(ScriptedModel::new("yes"), 12), false)
    );

    let count = |fate| there.iter().flatten().filter(|&&it| it == fate).count();
    let kept = count(None);
    assert!((160..=240).contains(&kept), "half of 400 calls, {kept}");
    for fate in [Retry::Transient, Retry::Resample, Retry::Never] {
        let failed = count(Some(fate));
        assert!(
            (40..=95).contains(&failed),
            "a sixth of 400 calls, {failed} {fate:?}"
        );
    }
    assert!(
        there.iter().any(|turns| turns[0] != turns[1]),
        "a second try may go otherwise"
    );
}

#[test]
fn a_rate_of_one_always_fails_and_a_rate_of_zero_never() {
    let always = Flaky::new(ScriptedModel::new("yes"), 1)
        .with_rate(1.0)
        .with_faults([Fault::Permanent]);
    assert!(
        fates(&always, false)
            .iter()
            .flatten()
            .all(|fate| *fate == Some(Retry::Never))
    );
    let never = Flaky::new(ScriptedModel::new("yes"), 1).with_rate(0.0);
    assert!(fates(&never, false).iter().flatten().all(Option::is_none));
}

#[test]
fn latency_shuffles_and_repeats() {
    let stage = Latency::new(
        induce_fn(|source: SourceText| async move { Ok(Instruction::new(source.id())) }),
        9,
    );
    let finished = || {
        let sources = (0..50).map(|n| SourceText::new(n.to_string(), "No."));
        let calls = stream::iter(sources).map(|source| {
            let stage = &stage;
            async move {
                stage
                    .induce(&source)
                    .await
                    .unwrap()
                    .text()
                    .parse::<u32>()
                    .unwrap()
            }
        });
        block_on(calls.buffer_unordered(50).collect::<Vec<_>>())
    };
    let order = finished();
    assert!(!order.is_sorted(), "calls overtake each other");
    assert_eq!(order, finished());
    let at_once = (0..50)
        .filter(|n| {
            stage
                .induce(&SourceText::new(n.to_string(), "No."))
                .now_or_never()
                .is_some()
        })
        .count();
    assert!(
        (10..=40).contains(&at_once),
        "about half are ready at once, {at_once}"
    );
}
