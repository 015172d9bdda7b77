//! Bugs planted on purpose: the same checks must find each of them.
#![cfg(target_os = "linux")]

use safer_instruct::run::Planted;

use crate::{
    kills::storm,
    power::cuts,
    trial::{Finding, Random},
    worker::BUGS,
};

/// What kills find of a bug. It ends with the first finding, which on a busy machine may take long.
fn killing(bug: usize) -> Result<(), Finding> {
    storm(2_000, Random(3), |trial| trial.order.planted = Some(bug)).map(drop)
}

/// What power cuts find of a bug.
fn cutting(bug: usize) -> Result<(), Finding> {
    cuts(500, Random(4), |trial| {
        trial.order.planted = Some(bug);
    })
    .map(drop)
}

#[test]
fn every_planted_bug_is_found() {
    for (place, bug) in BUGS.iter().enumerate() {
        let found = match bug {
            // A kill alone leaves what the system has in its memory.
            Planted::NoSync => cutting(place),
            _ => killing(place),
        };
        let checks: &[&str] = match bug {
            // What was acknowledged and lost is also asked, and paid, again.
            Planted::NoSync => &["acknowledged", "paid once"],
            Planted::IntentAfterCall => &["tries", "in flight"],
            Planted::CostApart => &["sums"],
            Planted::NoTextHash => &["another text"],
            Planted::EarlyAnswer => &["paid once", "acknowledged", "bytes"],
            Planted::DropLast => &["outcomes", "worker"],
            Planted::ForgetPair => &["outcomes"],
        };
        let (check, what) = found.expect_err(&format!("{bug:?} is not found"));
        println!(
            "{bug:?} is found by \"{check}\": {}",
            what.lines().next().unwrap_or_default()
        );
        assert!(
            checks.contains(&check),
            "{bug:?} is found by {check}: {what}"
        );
    }
}
