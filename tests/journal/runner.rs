//! Runs that go on, stop and report progress.

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{channel::oneshot, executor::block_on};
use rusqlite::Connection;
use safer_instruct::run::{End, Journal, RunProgress, RunReport, Runner, Status};

use crate::support::{
    COST, Counted, DRAWS, files, folder, manifest, never, no_time, number, pipeline, price, run,
    stream_of, texts, undisturbed,
};

const TEXTS: usize = 24;

fn cut(path: &Path, place: u64) {
    let connection = Connection::open(path).unwrap();
    let sql = "DELETE FROM outcomes WHERE place >= ?1";
    connection.execute(sql, [place]).unwrap();
}

#[test]
fn a_run_goes_on_behind_any_outcome_without_a_call() {
    let (folder, path) = folder();
    let model = Counted::default();
    run(
        &mut Journal::create(&path, manifest()).unwrap(),
        &model,
        texts(TEXTS),
    )
    .unwrap();
    let calls = model.calls();
    let whole = undisturbed(TEXTS);
    let out = folder.path().join("out");
    for place in 0..=(TEXTS as u64 * u64::from(DRAWS)) {
        cut(&path, place);
        let mut journal = Journal::open(&path, manifest()).unwrap();
        assert_eq!(journal.done(), place);
        let report = run(&mut journal, &model, texts(TEXTS)).unwrap();
        assert_eq!(report.end, End::Complete);
        journal.export(&out).unwrap();
        assert!(files(&out) == whole, "behind {place} outcomes");
    }
    assert_eq!(model.calls(), calls);
}

/// A run that is told to stop at its n-th call.
fn stopped(journal: &mut Journal, calls: u64) -> RunReport {
    let (stop, stopped) = oneshot::channel();
    let (stop, begun) = (Mutex::new(Some(stop)), AtomicU64::new(0));
    let model = Counted::telling(move |what, _| {
        if what == "begin" && begun.fetch_add(1, Ordering::SeqCst) + 1 == calls {
            stop.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    });
    let model = journal.record(model, "counted").with_price(price());
    let pipeline = pipeline(&model);
    let stopped = async {
        stopped.await.unwrap();
    };
    let runner = Runner::new(journal, &pipeline, no_time, never).with_stop(stopped);
    block_on(runner.run(stream_of(texts(TEXTS)))).unwrap()
}

#[test]
fn a_run_that_is_told_to_stop_ends_what_it_began_and_no_more() {
    let (folder, path) = folder();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    let report = stopped(&mut journal, 20);
    assert_eq!(report.end, End::Stopped);
    let status = Status::read(&path).unwrap();
    assert!(
        status.done() > 0 && status.done() < 2 * TEXTS as u64,
        "{status:?}"
    );
    assert_eq!(
        (status.in_flight, status.failed, status.complete),
        (0, 0, false)
    );
    // Every call belongs to an outcome: an induction at least for each draw that was not dropped before.
    let inductions = number(
        &path,
        "SELECT count(*) FROM outcomes WHERE stage IS NOT 'source'",
    );
    assert!(status.spent.requests >= inductions);

    let model = Counted::default();
    let report = run(&mut journal, &model, texts(TEXTS)).unwrap();
    assert_eq!(report.end, End::Complete);
    assert_eq!(
        journal.spent().requests,
        status.answered + u64::from(model.calls())
    );
    let out = folder.path().join("out");
    journal.export(&out).unwrap();
    assert!(files(&out) == undisturbed(TEXTS));
}

#[test]
fn a_run_does_not_wait_beyond_its_drain() {
    let (_folder, path) = folder();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    let (stop, stopped) = oneshot::channel();
    let stop = Mutex::new(Some(stop));
    let hanging = Counted::telling(move |_, _| {
        if let Some(stop) = stop.lock().unwrap().take() {
            stop.send(()).unwrap();
        }
    });
    hanging.hang(true);
    let model = journal.record(&hanging, "counted");
    let pipeline = pipeline(&model);
    // The drain is over when it is looked at.
    let runner = Runner::new(&mut journal, &pipeline, no_time, |_| std::future::ready(()))
        .with_stop(async { stopped.await.unwrap() });
    let report = block_on(runner.run(stream_of(texts(TEXTS)))).unwrap();
    assert_eq!((report.end, report.progress.done), (End::Stopped, 0));
    assert_eq!(Status::read(&path).unwrap().in_flight, 6);
    // They may have been paid, and are made again.
    hanging.hang(false);
    run(&mut journal, &hanging, texts(TEXTS)).unwrap();
    assert_eq!(hanging.most(), 2);
    assert_eq!(
        number(&path, "SELECT count(*) FROM calls WHERE tries = 2"),
        6
    );
}

#[test]
fn progress_says_rate_yield_cost_and_what_is_left() {
    let (_folder, path) = folder();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    let model = journal
        .record(Counted::default(), "counted")
        .with_price(price());
    let pipeline = pipeline(&model);
    // A clock that goes on by ten milliseconds whenever it is looked at.
    let ticks = AtomicU64::new(0);
    let clock = || Duration::from_millis(10 * ticks.fetch_add(1, Ordering::SeqCst));
    let mut told: Vec<RunProgress> = Vec::new();
    let runner = Runner::new(&mut journal, &pipeline, clock, never)
        .with_total(TEXTS as u64)
        .with_observer(|progress| told.push(progress.clone()));
    let report = block_on(runner.run(stream_of(texts(TEXTS)))).unwrap();

    let last = told.last().unwrap();
    assert_eq!(*last, report.progress);
    assert!(told.len() > 2 && told.is_sorted_by_key(|progress| progress.done));
    let total = 2 * TEXTS as u64;
    assert_eq!((last.done, last.total), (total, Some(total)));
    assert_eq!(last.kept + last.dropped + last.failed, total);
    assert_eq!(last.cost, last.requests * COST);
    assert_eq!(last.kept_share(), last.kept as f64 / total as f64);
    let seconds = (ticks.load(Ordering::SeqCst) - 1) as f64 / 100.0;
    assert!(
        (last.seconds - seconds).abs() < 1e-9,
        "{} {seconds}",
        last.seconds
    );
    assert!((last.per_second - total as f64 / seconds).abs() < 1e-6);
    assert_eq!(last.seconds_left, Some(0.0));
    let early = &told[0];
    let left = (total - early.done) as f64 / early.per_second;
    assert_eq!(early.seconds_left, Some(left));
    let json = serde_json::to_string(last).unwrap();
    assert_eq!(serde_json::from_str::<RunProgress>(&json).unwrap(), *last);
}
