//! What needs the inside of a journal: one transaction for all that wait, and a disk that is full.

use std::sync::mpsc;

use futures::{executor::block_on, future::join_all};

use super::{
    Journal, Status,
    schema::{open_reader, open_writer},
    shared::Shared,
    tables::{Begun, Tables},
};
use crate::{error::Error, files::Lock};

/// A journal in which no more than so many pages fit.
fn small(path: &std::path::Path, pages: u32) -> Shared {
    drop(Journal::create(path, serde_json::Value::Null).unwrap());
    let connection = open_writer(path).unwrap();
    connection
        .pragma_update(None, "max_page_count", pages)
        .unwrap();
    let tables = Tables::new(path, connection).unwrap();
    let lock = Lock::take(&path.with_extension("sqlite.lock")).unwrap();
    Shared::start(path, tables, lock).unwrap()
}

fn key(number: u16) -> [u8; 32] {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&number.to_le_bytes());
    key
}

#[test]
fn everything_that_waits_goes_into_one_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    let shared = small(&path, 1_000);
    let (release, held) = mpsc::channel::<()>();
    let hold = shared.ask(move |_| {
        held.recv().unwrap();
        Ok(0)
    });
    let (of_all, seen_by_others) = (path.clone(), |path: &std::path::Path| -> u64 {
        let reader = open_reader(path).unwrap();
        let sql = "SELECT count(*) FROM calls";
        reader.query_row(sql, [], |row| row.get(0)).unwrap()
    });
    let calls = (0..100).map(|number| {
        let path = of_all.clone();
        shared.ask(move |tables| {
            let begun = tables.begin_call(&key(number), "m")?;
            assert_eq!(begun, Begun::Make);
            Ok(seen_by_others(&path))
        })
    });
    let (before, ()) = block_on(futures::future::join(
        // Polled in order: the calls wait when the first job is released.
        futures::future::join(hold, join_all(calls)),
        async move { release.send(()).unwrap() },
    ));
    before.0.unwrap();
    for seen in before.1 {
        assert_eq!(seen.unwrap(), 0, "none is committed before all are");
    }
    assert_eq!(Status::read(&path).unwrap().in_flight, 100);
}

#[test]
fn a_full_disk_is_told_to_all_and_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    let shared = small(&path, 30);
    let ask = |number| {
        let work = move |tables: &mut Tables| tables.begin_call(&key(number), "m");
        block_on(shared.ask(work))
    };
    let mut done = 0;
    let error = loop {
        match ask(done) {
            Ok(begun) => assert_eq!(begun, Begun::Make),
            Err(error) => break error,
        }
        done += 1;
    };
    assert!(done > 0);
    let expected = format!(
        "{}: the disk is full: free space and open the journal again; what was committed is in it",
        path.display()
    );
    assert!(matches!(error, Error::Io { .. }));
    assert_eq!(error.report(), expected);
    // It refuses further work, and says why.
    assert_eq!(ask(done).unwrap_err().report(), expected);
    drop(shared);
    assert_eq!(Status::read(&path).unwrap().in_flight, u64::from(done));
    let journal = Journal::open(&path, serde_json::Value::Null).unwrap();
    assert_eq!(journal.spent().requests, u64::from(done));
}

#[test]
fn a_panic_is_told_to_those_who_wait() {
    let folder = tempfile::tempdir().unwrap();
    let shared = small(&folder.path().join("run.sqlite"), 1_000);
    let work = |_: &mut Tables| -> Result<(), _> { panic!("a test") };
    let error = block_on(shared.ask(work)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the journal of the run has stopped: its thread has ended"
    );
}
