//! Conservation, order and determinism, under schedules that the doubles shuffle.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{StreamExt, executor::block_on, stream};
use proptest::prelude::*;
use safer_instruct::{
    Draft, DynPipeline, Outcome, Pipeline, Response, SourceText, filter_fn,
    filters::Distinct,
    respond_fn,
    testkit::{self, Flaky, HOSTILE_TEXTS, Latency},
};

use super::{EXPERT, induce, prefers, respond, run, text};

/// Stages that fail by schedule and overtake each other.
fn shuffled(seed: u64, draws: u32, counterpart: bool) -> DynPipeline {
    let pipeline = Pipeline::new(
        Latency::new(Flaky::new(induce(), seed).with_rate(0.2), seed),
        Latency::new(Flaky::new(respond(), seed + 1).with_rate(0.2), seed + 1),
        Latency::new(prefers("Keep at it"), seed + 2),
    )
    .with_draws(draws)
    .with_seed(seed)
    .with_source_filter(filter_fn(|source: &SourceText| {
        Ok(if source.id().ends_with('7') {
            safer_instruct::Decision::drop("seven")
        } else {
            safer_instruct::Decision::Keep
        })
    }))
    .with_ordered_source_filter(Distinct::new);
    if counterpart {
        let other = respond_fn(|_| async { Ok(Response::new("Give it up.")) });
        pipeline
            .with_counterpart(Latency::new(other, seed + 3))
            .boxed()
    } else {
        pipeline.boxed()
    }
}

async fn all(pipeline: DynPipeline, texts: Vec<SourceText>, concurrency: usize) -> Vec<Outcome> {
    let pipeline = pipeline.with_concurrency(concurrency);
    pipeline.run(stream::iter(texts)).collect().await
}

testkit::pipeline_laws!(one_draw, |texts, n| all(shuffled(1, 1, false), texts, n));
testkit::pipeline_laws!(three_draws, |texts, n| all(shuffled(2, 3, false), texts, n));
testkit::pipeline_laws!(with_counterpart, |texts, n| all(
    shuffled(3, 2, true),
    texts,
    n
));

/// Everything that an outcome says, texts included, as bytes.
fn bytes(outcome: &Outcome) -> String {
    let said = |draft: &Draft| {
        let text = |response: Option<&Response>| response.map(|r| r.text().to_owned());
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            draft.source().text(),
            draft.source().lineage(),
            draft.instruction().ok().map(|x| x.text().to_owned()),
            text(draft.response().ok()),
            text(draft.counterpart()),
            draft.judgement().ok(),
        )
    };
    match outcome {
        Outcome::Kept(pair) => serde_json::to_string(pair).unwrap(),
        Outcome::Dropped { draft, .. } | Outcome::Failed { draft, .. } => {
            format!("{} {}", super::fate(outcome), said(draft))
        }
    }
}

fn texts(ids: &[u8]) -> Vec<SourceText> {
    // Equal ids make equal texts: duplicates for `Distinct`.
    ids.iter().map(|id| text(&format!("t{id}"))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn concurrency_changes_nothing(
        ids in prop::collection::hash_set(any::<u8>(), 0..40),
        seed in 0..1000_u64,
        draws in 1..4_u32,
        counterpart: bool,
    ) {
        let ids: Vec<u8> = ids.into_iter().collect();
        let outcomes = |n| block_on(all(shuffled(seed, draws, counterpart), texts(&ids), n));
        let one: Vec<String> = outcomes(1).iter().map(bytes).collect();
        for n in [3, 16] {
            let many = outcomes(n);
            let places: Vec<_> = many
                .iter()
                .map(|o| (o.lineage().source_id().to_owned(), o.lineage().draw()))
                .collect();
            let expected: Vec<_> = ids
                .iter()
                .flat_map(|id| (0..draws).map(move |draw| (format!("t{id}"), draw)))
                .collect();
            prop_assert_eq!(places, expected);
            prop_assert_eq!(many.iter().map(bytes).collect::<Vec<_>>(), one.clone());
        }
    }

    #[test]
    fn any_order_gives_the_same_outcomes(
        ids in prop::collection::hash_set(any::<u8>(), 0..40),
        seed in 0..1000_u64,
    ) {
        let ids: Vec<u8> = ids.into_iter().collect();
        let pipeline = || shuffled(seed, 2, true);
        let mut ordered: Vec<String> =
            block_on(all(pipeline(), texts(&ids), 5)).iter().map(bytes).collect();
        let unordered = pipeline().with_concurrency(5);
        let mut unordered: Vec<String> = block_on(
            unordered.run_unordered(stream::iter(texts(&ids))).map(|o| bytes(&o)).collect(),
        );
        ordered.sort();
        unordered.sort();
        prop_assert_eq!(ordered, unordered);
    }
}

#[test]
fn the_schedules_are_shuffled() {
    let ids: Vec<u8> = (0..60).collect();
    let pipeline = shuffled(5, 1, false).with_concurrency(8);
    let came: Vec<String> = block_on(
        pipeline
            .run_unordered(stream::iter(texts(&ids)))
            .map(|o| o.lineage().source_id().to_owned())
            .collect(),
    );
    let read: Vec<String> = ids.iter().map(|id| format!("t{id}")).collect();
    assert_ne!(came, read);
}

#[test]
fn little_is_read_ahead() {
    const CONCURRENCY: usize = 3;
    let (read, given) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let (count, limit) = (read.clone(), 64 * CONCURRENCY);
    let endless = stream::iter(0..).map(move |n: usize| {
        count.fetch_add(1, Ordering::Relaxed);
        text(&n.to_string())
    });
    let pipeline = Pipeline::new(Latency::new(induce(), 4), respond(), prefers("Keep"))
        .with_concurrency(CONCURRENCY);
    let most = block_on(
        pipeline
            .run(endless)
            .take(2000)
            .map(|_| read.load(Ordering::Relaxed) - given.fetch_add(1, Ordering::Relaxed))
            .collect::<Vec<_>>(),
    )
    .into_iter()
    .max()
    .unwrap();
    assert!(most <= limit, "{most} were read ahead");
    assert!(most > CONCURRENCY, "slow texts hold up the others");
}

#[test]
fn no_text_makes_it_panic() {
    let hostile: Vec<SourceText> = HOSTILE_TEXTS
        .iter()
        .map(|hostile| SourceText::new(hostile.name, hostile.text()))
        .collect();
    let echo = safer_instruct::induce_fn(|source: SourceText| async move {
        Ok(safer_instruct::Instruction::new(source.text()))
    });
    let outcomes = run(
        &Pipeline::new(echo, respond(), prefers(EXPERT)),
        hostile.clone(),
    );
    assert_eq!(outcomes.len(), hostile.len());
    for (outcome, source) in outcomes.iter().zip(&hostile) {
        assert_eq!(outcome.lineage().source_id(), source.id());
        match outcome {
            Outcome::Kept(pair) => {
                assert_eq!(
                    (&*pair.prompt, &*pair.rejected),
                    (source.text(), source.text())
                );
            }
            _ => assert!(source.text().trim().is_empty(), "{}", source.id()),
        }
    }
}
