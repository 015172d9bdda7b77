//! Bugs planted on purpose: the same checks must find each of them.

use crate::{
    kills::storm,
    trial::{Finding, Random},
    worker::BUGS,
};
#[cfg(target_os = "linux")]
use crate::power::cuts;

/// What finds a bug, and the most kills until then.
#[cfg(target_os = "linux")]
fn hunt(bug: Option<usize>, most: u64) -> Result<(), Finding> {
    storm(most, Random(3), |trial| trial.order.planted = bug)?;
    let mut random = Random(4);
    let mut done = 0;
    while done < most / 4 {
        done += cuts(most / 4, &mut random, |trial| trial.order.planted = bug)?;
    }
    Ok(())
}

#[test]
#[cfg(target_os = "linux")]
fn every_planted_bug_is_found() {
    for (place, bug) in BUGS.iter().enumerate() {
        let found = hunt(Some(place), 40);
        println!("{bug:?}: {found:?}");
    }
}
