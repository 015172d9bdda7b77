//! Correct implementations pass the kit, and each of its laws catches a broken one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod conformance;
mod doubles;
mod guard_mutants;
mod judge_mutants;
mod model_mutants;
mod pipeline_mutants;
mod scoring_mutants;
mod stage_mutants;
mod state_mutants;

use std::task::Poll;

use futures::executor::block_on;
use safer_instruct::testkit::Law;

/// A broken implementation, made anew for every law, and the laws that it breaks. All others must hold.
struct Mutant<S: ?Sized> {
    name: &'static str,
    make: fn() -> Box<S>,
    breaks: &'static [&'static str],
}

impl<S: ?Sized> Mutant<S> {
    fn new(name: &'static str, make: fn() -> Box<S>, breaks: &'static [&'static str]) -> Self {
        Self { name, make, breaks }
    }
}

/// Each mutant breaks exactly its laws, and for each law there is a mutant that breaks that law alone.
fn every_law_can_fail<S: ?Sized>(laws: &[Law<S>], mutants: &[Mutant<S>]) {
    for Mutant { name, make, breaks } in mutants {
        let broken: Vec<_> = laws
            .iter()
            .filter(|law| block_on(law.check(&*make())).is_err())
            .map(Law::name)
            .collect();
        assert_eq!(broken, *breaks, "the laws that {name} breaks");
    }
    for law in laws {
        let alone = mutants.iter().any(|mutant| mutant.breaks == [law.name()]);
        assert!(alone, "no mutant breaks {} and nothing else", law.name());
    }
}

/// Yields once, so that the others go first.
async fn yield_once() {
    let mut polled = false;
    futures::future::poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
