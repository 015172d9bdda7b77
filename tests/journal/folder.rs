//! A run in a folder.

use std::{collections::BTreeMap, fs, path::Path, pin::pin};

use futures::{StreamExt, channel::oneshot, executor::block_on, future::select, stream};
use safer_instruct::{
    Error, Result,
    dataset::Existing,
    run::{FolderStore, RunReport, RunStore, Runner},
};
use serde_json::{Value, json};

use crate::support::{Counted, manifest, never, no_time, pipeline, stream_of, texts};

const TEXTS: usize = 12;

fn open(folder: &Path) -> FolderStore {
    FolderStore::open(folder, manifest(), Existing::Resume).unwrap()
}

fn run(store: &mut FolderStore, model: Counted, texts_: usize) -> Result<RunReport> {
    let pipeline = pipeline(model);
    block_on(Runner::new(store, &pipeline, no_time, never).run(stream_of(texts(texts_))))
}

/// All files but the lock, by name.
fn all(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .filter(|(name, _)| name != ".lock")
        .collect()
}

fn whole() -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    run(&mut open(dir.path()), Counted::default(), TEXTS).unwrap();
    all(dir.path())
}

#[test]
fn a_run_is_five_files_and_progress_is_in_input_order() {
    let files = whole();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "dropped.jsonl",
            "failed.jsonl",
            "pairs.jsonl",
            "progress.jsonl",
            "summary.json"
        ]
    );
    let progress = String::from_utf8(files["progress.jsonl"].clone()).unwrap();
    let lines: Vec<Value> = progress
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines[0],
        json!({"format": 2, "library": env!("CARGO_PKG_VERSION"), "manifest": manifest()})
    );
    assert_eq!(lines.len(), 1 + 2 * TEXTS);
    // sha256sum of "Nobody asked you, part 0."
    let mark = &lines[1];
    assert_eq!((&mark["id"], &mark["draw"]), (&json!("post-0"), &json!(0)));
    assert_eq!(
        mark["sha256"],
        "fa9e0107f6ea3f8dc60034ad27bff2c16da3f581b80dcb957db3cc204fe57c4a"
    );
    // Only what an ordered filter has dropped has its pair there.
    for (mark, place) in lines[1..].iter().zip(0..) {
        assert_eq!(mark["id"], format!("post-{}", place / 2));
        assert!(
            mark["pair"].is_null() || mark["kind"] == "dropped",
            "{mark}"
        );
    }
    assert!(lines[1..].iter().any(|mark| !mark["pair"].is_null()));
}

/// Ends in the middle of a session, with half of the texts.
fn cut_off(folder: &Path) {
    let mut store = open(folder);
    let pipeline = pipeline(Counted::default());
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let texts = stream_of(texts(TEXTS / 2)).chain(stream::pending());
    let running = Runner::new(&mut store, &pipeline, no_time, never)
        .with_observer(|progress| {
            if progress.done == TEXTS as u64 {
                tell.take().unwrap().send(()).unwrap();
            }
        })
        .run(texts);
    block_on(select(pin!(running), told));
}

#[test]
fn a_crash_may_lose_the_end_of_any_file() {
    let expected = whole();
    // It is on the disk before there are other files.
    let header = 1 + expected["progress.jsonl"]
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap() as u64;
    for name in [
        "pairs.jsonl.partial",
        "dropped.jsonl.partial",
        "progress.jsonl",
    ] {
        for lost in [0, 1, 3, 7, 150, 700, 100_000] {
            let dir = tempfile::tempdir().unwrap();
            cut_off(dir.path());
            let path = dir.path().join(name);
            let file = fs::File::options().write(true).open(path).unwrap();
            let left = file.metadata().unwrap().len().saturating_sub(lost);
            file.set_len(left.max(if name == "progress.jsonl" { header } else { 0 }))
                .unwrap();
            run(&mut open(dir.path()), Counted::default(), TEXTS).unwrap();
            assert!(all(dir.path()) == expected, "{name} lost {lost} bytes");
        }
    }
}

#[test]
fn a_finished_run_is_not_touched_by_one_that_cannot_go_on() {
    let dir = tempfile::tempdir().unwrap();
    run(&mut open(dir.path()), Counted::default(), TEXTS).unwrap();
    let before = all(dir.path());
    let shown = |existing, manifest| {
        let error = FolderStore::open(dir.path(), manifest, existing).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
        error
            .to_string()
            .replace(dir.path().to_str().unwrap(), "OUT")
    };
    assert_eq!(
        shown(Existing::Refuse, manifest()),
        "output folder: OUT already holds a run; choose another folder, resume it or overwrite it"
    );
    assert_eq!(
        shown(Existing::Resume, json!({"seed": 8})),
        "output folder: OUT holds a run with another manifest (seed: 7 -> 8; model: an object of 1 names -> nothing); \
         give these their old values, choose another folder or overwrite it"
    );
    fs::remove_file(dir.path().join("progress.jsonl")).unwrap();
    assert_eq!(
        shown(Existing::Resume, manifest()),
        "output folder: OUT holds outcomes, but no progress.jsonl to go on with: an older version wrote them, or an export; \
         choose another folder or overwrite it"
    );
    fs::write(dir.path().join("progress.jsonl"), &before["progress.jsonl"]).unwrap();
    assert!(all(dir.path()) == before);

    let mut store = FolderStore::open(dir.path(), manifest(), Existing::Overwrite).unwrap();
    assert_eq!(store.done(), 0);
    run(&mut store, Counted::default(), 2).unwrap();
    assert_eq!((store.done(), store.summary().is_complete()), (4, true));
}

#[test]
fn a_progress_of_another_format_or_a_damaged_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    run(&mut open(dir.path()), Counted::default(), TEXTS).unwrap();
    let path = dir.path().join("progress.jsonl");
    let progress = fs::read_to_string(&path).unwrap();
    let refused = |content: String| {
        fs::write(&path, content).unwrap();
        let error = FolderStore::open(dir.path(), manifest(), Existing::Resume).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error}");
        error
            .to_string()
            .replace(dir.path().to_str().unwrap(), "OUT")
    };
    assert_eq!(
        refused(progress.replacen("\"format\":2", "\"format\":3", 1)),
        "OUT/progress.jsonl:1: it has the format 3, and this version of the library knows 2: take the version that made it"
    );
    assert_eq!(
        refused(format!("k\nk\nd\n{progress}")),
        "OUT/progress.jsonl:1: the first line is damaged"
    );
}

#[test]
fn failed_texts_are_not_retried_here_and_no_call_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let model = Counted::default();
    model.fail(true);
    run(&mut store, model.clone(), TEXTS).unwrap();
    let (before, calls) = (all(dir.path()), model.calls());
    let pipeline = pipeline(model.clone());
    let runner = Runner::new(&mut store, &pipeline, no_time, never);
    let error = block_on(runner.retry(stream_of(texts(TEXTS)))).unwrap_err();
    assert_eq!(
        error
            .to_string()
            .replace(dir.path().to_str().unwrap(), "OUT"),
        "retry: the run in OUT cannot try failed texts again: give its failed.jsonl to a new run as input, \
         or keep the run in a journal"
    );
    assert_eq!(model.calls(), calls);
    assert!(all(dir.path()) == before);
    assert!(block_on(store.replace(&[])).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    run(&mut open(dir.path()), Counted::default(), 0).unwrap();
    // The first outcome that is dropped meets a device that is always full.
    let dropped = dir.path().join("dropped.jsonl");
    assert_eq!(fs::read(&dropped).unwrap(), b"");
    fs::remove_file(&dropped).unwrap();
    std::os::unix::fs::symlink("/dev/full", &dropped).unwrap();
    let mut store = open(dir.path());
    let error = run(&mut store, Counted::default(), TEXTS).unwrap_err();
    let error = error.report();
    assert!(
        error.ends_with("dropped.jsonl.partial: No space left on device (os error 28)"),
        "{error}"
    );
    // The store refuses further work, and says why.
    let again = run(&mut store, Counted::default(), TEXTS).unwrap_err();
    assert_eq!(again.report(), error);
    drop(store);
    fs::remove_file(dir.path().join("dropped.jsonl.partial")).unwrap();
    let mut store = open(dir.path());
    run(&mut store, Counted::default(), TEXTS).unwrap();
    drop(store);
    assert!(all(dir.path()) == whole());
}
