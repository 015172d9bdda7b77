//! Laws of a pipeline, or of anything else that turns source texts into outcomes.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
};

use futures::{FutureExt, future::BoxFuture};

use super::law::{Cases, Law, Verified, Violation};
use crate::{
    outcome::Outcome,
    record::{Draft, Lineage, SourceText},
};

/// Runs source texts with the given concurrency and gathers the outcomes in the order in which they come.
///
/// Any number of draws is fine, as long as it is the same for every source text.
pub type Run = dyn Fn(Vec<SourceText>, usize) -> BoxFuture<'static, Vec<Outcome>> + Send + Sync;

/// Every law of a pipeline.
pub const PIPELINE_LAWS: &[Law<Run>] = &[
    Law::new("conservation", |run| Box::pin(conservation(run))),
    Law::new("order", |run| Box::pin(order(run))),
    Law::new("determinism", |run| Box::pin(determinism(run))),
];

const CONCURRENCIES: [usize; 4] = [1, 2, 7, 64];
const SOURCES: usize = 60;

/// Boxes a closure as a [`Run`].
pub fn run_fn<F, Fut>(closure: F) -> Box<Run>
where
    F: Fn(Vec<SourceText>, usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Vec<Outcome>> + Send + 'static,
{
    Box::new(move |sources, concurrency| Box::pin(closure(sources, concurrency)))
}

fn sources() -> Vec<SourceText> {
    (0..SOURCES)
        .map(|n| {
            SourceText::new(
                format!("text-{n}"),
                format!("Nobody wants to hear it, part {n}."),
            )
        })
        .collect()
}

/// Place of a source text in the input, and draw.
type Place = (usize, u32);

async fn run_all(
    cases: &Cases,
    run: &Run,
    sources: Vec<SourceText>,
    concurrency: usize,
) -> Result<Vec<Outcome>, Violation> {
    // The closure itself may panic too, not only its future.
    let outcomes = AssertUnwindSafe(async { run(sources, concurrency).await });
    outcomes
        .catch_unwind()
        .await
        .map_err(|_| cases.broken(format!("panicked at concurrency {concurrency}")))
}

fn place(lineage: &Lineage) -> Option<Place> {
    let n = lineage.source_id().strip_prefix("text-")?.parse().ok()?;
    (n < SOURCES).then_some((n, lineage.draw()))
}

/// Every source text that is read gives exactly one outcome for every draw, and every outcome belongs to a source text.
///
/// # Errors
/// Fails in the first case that breaks the law.
pub async fn conservation(run: &Run) -> Verified {
    let mut cases = Cases::of("conservation");
    for concurrency in CONCURRENCIES {
        let outcomes = run_all(&cases, run, sources(), concurrency).await?;
        let mut seen = BTreeSet::new();
        for outcome in &outcomes {
            let lineage = outcome.lineage();
            let place = place(lineage);
            cases.expect(place.is_some(), || format!("{lineage} was never read"))?;
            cases.expect(seen.insert(place), || {
                format!("{lineage} was given out twice")
            })?;
        }
        let draws = seen
            .iter()
            .flatten()
            .map(|(_, draw)| draw + 1)
            .max()
            .unwrap_or(1);
        for n in 0..SOURCES {
            for draw in 0..draws {
                cases.expect(seen.contains(&Some((n, draw))), || {
                    format!("text-{n}#{draw} is lost at concurrency {concurrency}")
                })?;
            }
        }
    }
    let none = run_all(&cases, run, Vec::new(), 4).await?;
    cases.expect(none.is_empty(), || "outcomes without input".to_owned())?;
    cases.done()
}

/// Outcomes come in the order of the input, and the draws of one source text one after the other.
///
/// # Errors
/// Fails in the first case that breaks the law, or if there are no outcomes.
pub async fn order(run: &Run) -> Verified {
    let mut cases = Cases::of("order");
    for concurrency in CONCURRENCIES {
        let outcomes = run_all(&cases, run, sources(), concurrency).await?;
        let places: Vec<_> = outcomes.iter().filter_map(|o| place(o.lineage())).collect();
        for (before, after) in places.iter().zip(places.iter().skip(1)) {
            cases.expect(before <= after, || {
                format!(
                    "text-{} came after text-{} at concurrency {concurrency}",
                    after.0, before.0
                )
            })?;
        }
    }
    cases.done()
}

/// A source text has the same outcome at any concurrency.
///
/// Compared are pairs with their provenance, reasons, kinds of error and drafts.
///
/// # Errors
/// Fails in the first case that breaks the law, or if there are no outcomes.
pub async fn determinism(run: &Run) -> Verified {
    let mut cases = Cases::of("determinism");
    let mut before: BTreeMap<Place, Face> = BTreeMap::new();
    for concurrency in CONCURRENCIES {
        for outcome in run_all(&cases, run, sources(), concurrency).await? {
            let lineage = outcome.lineage().clone();
            let Some(place) = place(&lineage) else {
                continue;
            };
            let face = Face::of(outcome);
            let known = before.entry(place).or_insert_with(|| face.clone());
            cases.expect(*known == face, || {
                format!("{lineage} has another outcome at concurrency {concurrency}")
            })?;
        }
    }
    cases.done()
}

/// What two outcomes must have in common to be the same.
#[derive(Clone, PartialEq)]
enum Face {
    Kept(Box<crate::PreferencePair>),
    Ended(String, Box<Draft>),
}

impl Face {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Kept(pair) => Self::Kept(pair),
            Outcome::Dropped {
                stage,
                reason,
                draft,
            } => Self::Ended(format!("dropped at {stage}: {reason}"), draft),
            Outcome::Failed {
                stage,
                error,
                draft,
            } => Self::Ended(format!("failed at {stage}: {}", error.kind()), draft),
        }
    }
}
