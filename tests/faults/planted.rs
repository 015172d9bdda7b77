//! Bugs planted on purpose: the same checks must find each of them.
#![cfg(target_os = "linux")]

use crate::{
    bugs::Bug,
    kills::storm,
    power::cuts,
    trial::{Finding, Random},
    worker::Store,
};

/// What kills find of a bug. It ends with the first finding, which on a busy machine may take long.
fn killing(store: Store, bug: Bug) -> Result<(), Finding> {
    storm(store, 2_000, Random(3), |trial| trial.order.bug = Some(bug)).map(drop)
}

/// What power cuts find of a bug.
fn cutting(store: Store, bug: Bug) -> Result<(), Finding> {
    cuts(store, 500, Random(4), |trial| trial.order.bug = Some(bug)).map(drop)
}

fn every_bug_is_found(store: Store, bugs: &[Bug]) {
    for bug in bugs {
        let found = match bug {
            // A kill alone leaves what the system has in its memory.
            Bug::NoSync => cutting(store, *bug),
            _ => killing(store, *bug),
        };
        let checks: &[&str] = match bug {
            // What was acknowledged and lost is also asked, and paid, again.
            Bug::NoSync => &["acknowledged", "paid once", "outcomes"],
            Bug::IntentAfterCall => &["tries", "in flight"],
            Bug::CostApart => &["sums"],
            Bug::NoTextHash => &["another text", "bytes"],
            Bug::EarlyAnswer => &["paid once", "acknowledged", "bytes"],
            Bug::DropLast => &["acknowledged", "outcomes", "worker"],
            Bug::ForgetPair => &["outcomes"],
        };
        let (check, what) = found.expect_err(&format!("{bug:?} is not found"));
        println!(
            "{bug:?} of {store:?} is found by \"{check}\": {}",
            what.lines().next().unwrap_or_default()
        );
        assert!(
            checks.contains(&check),
            "{bug:?} of {store:?} is found by {check}: {what}"
        );
    }
}

#[test]
fn every_bug_of_a_journal_is_found() {
    every_bug_is_found(Store::Journal, &Bug::OF_A_JOURNAL);
}

#[test]
fn every_bug_of_a_folder_is_found() {
    every_bug_is_found(Store::Folder, &Bug::OF_A_FOLDER);
}
