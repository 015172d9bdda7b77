//! What a runner promises, with either store.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{channel::oneshot, executor::block_on, stream};
use rusqlite::Connection;
use safer_instruct::{
    Error, Outcome, Result, SourceText,
    dataset::Existing,
    run::{End, FolderStore, Journal, RunProgress, RunReport, RunStore, Runner, export},
};

use crate::support::{
    Counted, DRAWS, can_be_spawned, files, manifest, never, no_time, number, pipeline, stream_of,
    texts,
};

const TEXTS: usize = 12;
const ALL: u64 = TEXTS as u64 * DRAWS as u64;

/// A store, and how a test looks into it from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Journal,
    Folder,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Journal, Kind::Folder];

/// A run of its own. The folder is removed after it.
pub(crate) struct Trial {
    kind: Kind,
    folder: tempfile::TempDir,
}

impl Trial {
    pub(crate) fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { kind, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(match self.kind {
            Kind::Journal => "run.sqlite",
            Kind::Folder => "out",
        })
    }

    /// Begins the run, or goes on with it.
    pub(crate) fn open(&self) -> Box<dyn RunStore> {
        match self.kind {
            Kind::Journal => Box::new(Journal::open_or_create(self.path(), manifest()).unwrap()),
            Kind::Folder => {
                Box::new(FolderStore::open(self.path(), manifest(), Existing::Resume).unwrap())
            }
        }
    }

    /// The files that come of it.
    fn files(&self) -> BTreeMap<String, String> {
        let out = self.folder.path().join("out");
        if let Kind::Journal = self.kind {
            export(self.path(), &out).unwrap();
        }
        files(&out)
    }

    /// Loses all outcomes from a place on, as a crash may do.
    fn cut(&self, place: u64) {
        match self.kind {
            Kind::Journal => {
                let connection = Connection::open(self.path()).unwrap();
                let sql = "DELETE FROM outcomes WHERE place >= ?1";
                connection.execute(sql, [place]).unwrap();
            }
            Kind::Folder => {
                let path = self.path().join("progress.jsonl");
                let progress = fs::read_to_string(&path).unwrap();
                let kept = progress.split_inclusive('\n').take(1 + place as usize);
                fs::write(path, kept.collect::<String>()).unwrap();
            }
        }
    }

    /// How many outcomes another process sees.
    fn there(&self) -> u64 {
        match self.kind {
            Kind::Journal => number(&self.path(), "SELECT count(*) FROM outcomes"),
            Kind::Folder => {
                let progress = fs::read_to_string(self.path().join("progress.jsonl")).unwrap();
                progress.lines().count() as u64 - 1
            }
        }
    }

    fn is_complete(&self) -> bool {
        let summary: serde_json::Value =
            serde_json::from_str(&self.files()["summary.json"]).unwrap();
        summary["complete"].as_bool().unwrap()
    }
}

fn run(store: &mut dyn RunStore, texts: Vec<SourceText>) -> Result<RunReport> {
    let pipeline = pipeline(Counted::default());
    block_on(Runner::new(store, &pipeline, no_time, never).run(stream_of(texts)))
}

fn undisturbed(kind: Kind) -> BTreeMap<String, String> {
    let trial = Trial::new(kind);
    let report = run(&mut *trial.open(), texts(TEXTS)).unwrap();
    assert_eq!((report.end, report.progress.done), (End::Complete, ALL));
    trial.files()
}

#[test]
fn both_give_the_same_files() {
    assert!(undisturbed(Kind::Journal) == undisturbed(Kind::Folder));
}

#[test]
fn a_run_goes_on_behind_any_outcome() {
    for kind in KINDS {
        let whole = undisturbed(kind);
        let trial = Trial::new(kind);
        run(&mut *trial.open(), texts(TEXTS)).unwrap();
        for place in 0..=ALL {
            trial.cut(place);
            let mut store = trial.open();
            assert_eq!(store.tally().done(), place, "{kind:?}");
            run(&mut *store, texts(TEXTS)).unwrap();
            drop(store);
            assert!(trial.files() == whole, "{kind:?} behind {place} outcomes");
        }
    }
}

#[test]
fn a_complete_run_goes_on_with_more_input() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        let mut store = trial.open();
        for count in [0, 7, 7, TEXTS] {
            let report = run(&mut *store, texts(count)).unwrap();
            let done = count as u64 * u64::from(DRAWS);
            assert_eq!((report.end, report.progress.done), (End::Complete, done));
            assert!(trial.is_complete(), "{kind:?} {count}");
        }
        drop(store);
        assert!(trial.files() == undisturbed(kind), "{kind:?}");
    }
}

#[test]
fn another_input_is_refused_with_the_record_that_changed() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        run(&mut *trial.open(), texts(TEXTS)).unwrap();
        let before = trial.files();
        let refused = |texts: Vec<SourceText>| {
            let error = run(&mut *trial.open(), texts).unwrap_err();
            let shown = error.to_string();
            assert!(matches!(error, Error::Input { .. }), "{shown}");
            shown.replace(trial.path().to_str().unwrap(), "STORE")
        };
        let mut other = texts(TEXTS);
        other[4] = SourceText::new("post-4", "Nobody asked you at all.");
        assert_eq!(
            refused(other),
            "STORE: the input has changed: record 5 (\"post-4\") has another text; give the same input, or begin a new run"
        );
        let mut other = texts(TEXTS);
        other.remove(4);
        assert_eq!(
            refused(other),
            "STORE: the input has changed: its record 5 is \"post-5\" and was \"post-4\"; give the same input, or begin a new run"
        );
        assert_eq!(
            refused(texts(9)),
            "STORE: the input has 9 texts, and the run has outcomes of more: give the whole input, in the same order"
        );
        let pipeline = pipeline(Counted::default()).with_draws(3);
        let error = block_on(
            Runner::new(&mut *trial.open(), &pipeline, no_time, never).run(stream_of(texts(TEXTS))),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "draws: the run was made with another number of draws than 3"
        );
        // Nothing was lost or changed by it.
        assert!(trial.files() == before, "{kind:?}");
    }
}

#[test]
fn a_run_that_is_told_to_stop_ends_what_it_began_and_goes_on_later() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        let mut store = trial.open();
        let (stop, stopped) = oneshot::channel();
        let (stop, begun) = (Mutex::new(Some(stop)), AtomicU64::new(0));
        let model = Counted::telling(move |what, _| {
            if what == "begin" && begun.fetch_add(1, Ordering::SeqCst) + 1 == 20 {
                stop.lock().unwrap().take().unwrap().send(()).unwrap();
            }
        });
        let pipeline = pipeline(model);
        let runner = Runner::new(&mut *store, &pipeline, no_time, never)
            .with_stop(async { stopped.await.unwrap() });
        let report = block_on(can_be_spawned(runner.run(stream_of(texts(TEXTS))))).unwrap();
        let done = report.progress.done;
        assert_eq!(report.end, End::Stopped, "{kind:?}");
        assert!(done > 0 && done < ALL, "{kind:?} {done}");
        assert!(!trial.is_complete(), "{kind:?}");
        assert_eq!(store.tally().done(), done);
        run(&mut *store, texts(TEXTS)).unwrap();
        drop(store);
        assert!(trial.files() == undisturbed(kind), "{kind:?}");
    }
}

#[test]
fn an_error_that_every_text_would_meet_ends_the_run_and_is_no_outcome() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        let mut store = trial.open();
        let pipeline = pipeline(Counted::default().with_credit(70));
        let runner = Runner::new(&mut *store, &pipeline, no_time, never);
        let error = block_on(runner.run(stream_of(texts(TEXTS)))).unwrap_err();
        let done = store.tally().done();
        assert!(error.to_string().ends_with("no credit left"), "{error}");
        assert!(
            done > 0 && done < ALL && store.tally().failed == 0,
            "{kind:?} {done}"
        );
        assert!(!trial.is_complete(), "{kind:?}");
        run(&mut *store, texts(TEXTS)).unwrap();
        drop(store);
        assert!(trial.files() == undisturbed(kind), "{kind:?}");
    }
}

#[test]
fn a_run_that_is_stopped_before_it_begins_makes_no_call() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        let model = Counted::default();
        let pipeline = pipeline(&model);
        let mut store = trial.open();
        let runner =
            Runner::new(&mut *store, &pipeline, no_time, never).with_stop(std::future::ready(()));
        let report = block_on(runner.run(stream_of(texts(TEXTS)))).unwrap();
        assert_eq!((report.end, model.calls()), (End::Stopped, 0), "{kind:?}");
        assert!(!trial.is_complete(), "{kind:?}");
    }
}

#[test]
fn what_was_read_before_an_error_of_the_input_is_done() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        let bad = Err(Error::input("posts.jsonl", 6, "not valid JSON"));
        let sources = texts(5)
            .into_iter()
            .map(Ok)
            .chain([bad])
            .chain(texts(1).into_iter().map(Ok));
        let pipeline = pipeline(Counted::default());
        let mut store = trial.open();
        let runner = Runner::new(&mut *store, &pipeline, no_time, never);
        let error = block_on(runner.run(stream::iter(sources))).unwrap_err();
        assert_eq!(error.to_string(), "posts.jsonl:6: not valid JSON");
        assert_eq!(store.tally().done(), 10, "{kind:?}");
        assert!(!trial.is_complete(), "{kind:?}");
    }
}

#[test]
fn outcomes_are_given_out_in_input_order_when_they_are_durable() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        run(&mut *trial.open(), texts(3)).unwrap();
        let mut store = trial.open();
        let pipeline = pipeline(Counted::default());
        let (mut given, mut told) = (Vec::new(), Vec::new());
        let runner = Runner::new(&mut *store, &pipeline, no_time, never)
            .with_outcomes(|outcome: Outcome| {
                let lineage = outcome.lineage();
                given.push((lineage.source_id().to_owned(), lineage.draw()));
                assert!(trial.there() >= 3 * u64::from(DRAWS) + given.len() as u64);
            })
            .with_observer(|progress| told.push(progress.done));
        block_on(runner.run(stream_of(texts(TEXTS)))).unwrap();
        // Those of the first session are not given out again.
        let expected: Vec<_> = (3..TEXTS)
            .flat_map(|n| (0..DRAWS).map(move |draw| (format!("post-{n}"), draw)))
            .collect();
        assert_eq!(given, expected, "{kind:?}");
        assert!(told.is_sorted() && told.last() == Some(&ALL), "{told:?}");
    }
}

#[test]
fn progress_says_rate_yield_and_what_is_left() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        let mut store = trial.open();
        let pipeline = pipeline(Counted::default());
        // A clock that goes on by ten milliseconds whenever it is looked at.
        let ticks = AtomicU64::new(0);
        let clock = || Duration::from_millis(10 * ticks.fetch_add(1, Ordering::SeqCst));
        let mut told: Vec<RunProgress> = Vec::new();
        let runner = Runner::new(&mut *store, &pipeline, clock, never)
            .with_total(TEXTS as u64)
            .with_observer(|progress| told.push(progress.clone()));
        let report = block_on(runner.run(stream_of(texts(TEXTS)))).unwrap();
        let last = told.last().unwrap();
        assert_eq!(*last, report.progress, "{kind:?}");
        assert_eq!((last.done, last.total), (ALL, Some(ALL)));
        assert_eq!(last.kept + last.dropped + last.failed, ALL);
        let seconds = (ticks.load(Ordering::SeqCst) - 1) as f64 / 100.0;
        assert!((last.per_second - ALL as f64 / seconds).abs() < 1e-6);
        assert_eq!(last.seconds_left, Some(0.0));
    }
}

#[test]
fn two_of_them_do_not_have_one_run() {
    for kind in KINDS {
        let trial = Trial::new(kind);
        let store = trial.open();
        let path = trial.path();
        let second = match kind {
            Kind::Journal => Journal::open(&path, manifest()).map(drop),
            Kind::Folder => FolderStore::open(&path, manifest(), Existing::Resume).map(drop),
        };
        let error = second.unwrap_err().report();
        assert!(error.contains("lock: it is in use"), "{kind:?} {error}");
        drop(store);
        drop(trial.open());
    }
}

#[cfg(feature = "testkit")]
mod laws {
    use safer_instruct::testkit::{Run, pipeline_laws, run_fn};

    use super::*;

    /// All outcomes of a run that is cut off after a third of them, and goes on.
    fn in_two_sessions(kind: Kind) -> Box<Run> {
        run_fn(move |sources, concurrency| async move {
            let trial = Trial::new(kind);
            let pipeline = pipeline(Counted::default()).with_concurrency(concurrency);
            let mut outcomes = Vec::new();
            for count in [sources.len() / 3, sources.len()] {
                let mut store = trial.open();
                let texts = sources[..count].to_vec();
                let runner = Runner::new(&mut *store, &pipeline, no_time, never)
                    .with_outcomes(|outcome| outcomes.push(outcome));
                runner.run(stream_of(texts)).await.unwrap();
            }
            outcomes
        })
    }

    mod journal {
        use super::*;
        pipeline_laws!(pipeline, in_two_sessions(Kind::Journal));
    }

    mod folder {
        use super::*;
        pipeline_laws!(pipeline, in_two_sessions(Kind::Folder));
    }
}
