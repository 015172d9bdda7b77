//! Pipelines: a plain one keeps all laws, broken ones are caught.

use safer_instruct::{
    Draft, Lineage, Outcome, Reason, SourceText, Stage,
    testkit::{self, PIPELINE_LAWS, Run, run_fn},
};

use crate::{Mutant, every_law_can_fail};

fn drop_at(source: SourceText, code: String) -> Outcome {
    Outcome::Dropped {
        stage: Stage::Source,
        reason: Reason::new(code),
        draft: Box::new(Draft::new(source)),
    }
}

/// Drops every source text, in order.
fn right(sources: Vec<SourceText>) -> Vec<Outcome> {
    sources
        .into_iter()
        .map(|source| drop_at(source, "unwanted".into()))
        .collect()
}

fn two_draws(sources: Vec<SourceText>) -> Vec<Outcome> {
    let draws = sources.into_iter().flat_map(|source| {
        [0, 1].map(|draw| {
            let lineage = source.lineage().clone().with_draw(draw);
            source.clone().with_lineage(lineage)
        })
    });
    right(draws.collect())
}

testkit::pipeline_laws!(plain, |sources, _| async { right(sources) });
testkit::pipeline_laws!(with_draws, |sources, _| async { two_draws(sources) });

fn bent(bend: fn(&mut Vec<Outcome>, usize)) -> Box<Run> {
    run_fn(move |sources, concurrency| {
        let mut outcomes = two_draws(sources);
        if !outcomes.is_empty() {
            bend(&mut outcomes, concurrency);
        }
        async { outcomes }
    })
}

#[test]
fn every_law_of_a_pipeline_can_fail() {
    every_law_can_fail(
        PIPELINE_LAWS,
        &[
            Mutant::new(
                "one lost",
                || {
                    bent(|outcomes, _| {
                        outcomes.pop();
                    })
                },
                &["conservation"],
            ),
            Mutant::new(
                "one given out twice",
                || {
                    bent(|outcomes, _| {
                        let lineage = outcomes[3].lineage().clone();
                        let source = SourceText::new("", "Nobody wants to hear it, part 1.");
                        let twin = drop_at(source.with_lineage(lineage), "unwanted".into());
                        outcomes.insert(3, twin);
                    })
                },
                &["conservation"],
            ),
            Mutant::new(
                "one from nowhere",
                || {
                    bent(|outcomes, _| {
                        let source = SourceText::new("text-60", "?");
                        outcomes.push(drop_at(source, "unwanted".into()));
                    })
                },
                &["conservation"],
            ),
            Mutant::new(
                "an order that concurrency decides",
                || {
                    bent(|outcomes, concurrency| {
                        outcomes.rotate_left(concurrency % 7);
                    })
                },
                &["order"],
            ),
            Mutant::new(
                "draws in the wrong order",
                || bent(|outcomes, _| outcomes.swap(0, 1)),
                &["order"],
            ),
            Mutant::new(
                "a reason that depends on concurrency",
                || {
                    bent(|outcomes, concurrency| {
                        let source =
                            SourceText::new("", "").with_lineage(Lineage::new("text-0", 0, 0));
                        outcomes[0] = drop_at(source, format!("at_{concurrency}"));
                    })
                },
                &["determinism"],
            ),
        ],
    );
}
