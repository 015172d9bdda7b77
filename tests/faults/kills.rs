//! `kill -9` at named points and at any moment.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    server::Fault,
    trial::{Finding, Kill, Random, Trial, kills},
    worker::Store,
};

/// The results of kills.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    pub(crate) kills: u64,
    runs: u64,
    by_kind: BTreeMap<String, u64>,
    paid_in_vain: u64,
}

/// Where the next kill of a run in a folder is.
fn next_in_folder(random: &mut Random, round: u64) -> Kill {
    let time = |random: &mut Random, most| 1 + random.below(most);
    match round % 8 {
        0 => Kill::At("opening", 1),
        1 => Kill::Called(time(random, 40)),
        2 => Kill::At("committing", time(random, 12)),
        3 => Kill::At("committed", time(random, 12)),
        4 => Kill::At("replacing", time(random, 7)),
        5 => Kill::At("syncing the folder", time(random, 10)),
        6 => Kill::Write(512 * time(random, 64)),
        _ => Kill::After(Duration::from_micros(random.below(150_000))),
    }
}

/// Where the next kill of a run in a journal is.
fn next(random: &mut Random, round: u64) -> Kill {
    let time = |random: &mut Random, most| 1 + random.below(most);
    match round % 10 {
        0 => Kill::At("opening", 1),
        1 => Kill::At("asking", time(random, 12)),
        2 => Kill::At("calling", time(random, 12)),
        3 => Kill::Called(time(random, 12)),
        4 => Kill::At("answered", time(random, 12)),
        5 => Kill::At("recorded", time(random, 12)),
        6 => Kill::At("committing", time(random, 12)),
        7 => Kill::At("committed", time(random, 12)),
        8 => Kill::Write(512 * time(random, 256)),
        _ => Kill::After(Duration::from_micros(random.below(150_000))),
    }
}

/// Kills runs until there were so many kills; a new run begins when one has ended.
pub(crate) fn storm(
    store: Store,
    kills: u64,
    mut random: Random,
    prepare: impl Fn(&mut Trial),
) -> Result<Storm, Finding> {
    let (mut storm, mut round) = (Storm::default(), 0);
    while storm.kills < kills {
        let mut trial = Trial::new(store);
        // Calls that fail and are tried again are killed too.
        let errors = (1..1_000).map(|n| (n * 11, Fault::Error500));
        trial.server.plan(errors);
        prepare(&mut trial);
        storm.runs += 1;
        while storm.kills < kills {
            let kill = match store {
                Store::Journal => next(&mut random, round),
                Store::Folder => next_in_folder(&mut random, round),
            };
            round += 1;
            if !storm.session(&mut trial, kill)? {
                break;
            }
        }
        // It has come to its end, so the export is what is killed.
        if storm.kills < kills {
            storm.session(&mut trial, Kill::At("replacing", 1 + random.below(4)))?;
        }
        storm.paid_in_vain += trial.finish()?;
    }
    Ok(storm)
}

impl Storm {
    /// Whether the kill came before the end of the run.
    fn session(&mut self, trial: &mut Trial, kill: Kill) -> Result<bool, Finding> {
        let killed = trial.session(Some(kill)).killed;
        trial.check()?;
        if killed {
            self.kills += 1;
            let kind = match kill {
                Kill::At(point, _) => point,
                Kill::Called(_) => "called",
                Kill::Write(_) => "write",
                Kill::After(_) => "after",
            };
            *self.by_kind.entry(kind.to_owned()).or_default() += 1;
        }
        Ok(killed)
    }
}

#[test]
fn a_killed_run_ends_in_the_same_bytes_and_pays_twice_only_for_what_was_in_flight() {
    let storm = storm(Store::Journal, kills() * 4 / 5, Random(1), |_| {}).unwrap();
    println!("{storm:?}");
    // Of eleven kinds some may come too late, one round or another.
    assert!(kills() < 50 || storm.by_kind.len() >= 9, "{storm:?}");
}

/// A fifth as many: a folder makes no promise about calls.
#[test]
fn a_killed_run_in_a_folder_ends_in_the_same_bytes() {
    let storm = storm(Store::Folder, kills() * 4 / 25, Random(1), |_| {}).unwrap();
    println!("{storm:?}");
    assert!(kills() < 200 || storm.by_kind.len() >= 7, "{storm:?}");
}
