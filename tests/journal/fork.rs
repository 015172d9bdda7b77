//! Manifests that change, and journals that begin with the paid calls of others.

use futures::executor::block_on;
use safer_instruct::run::{Budget, End, Journal, Status};
use serde_json::json;

use crate::support::{Counted, files, folder, manifest, run, texts, undisturbed};

const TEXTS: usize = 12;

#[test]
fn another_manifest_is_refused_with_what_changed() {
    let (_folder, path) = folder();
    drop(Journal::create(&path, manifest()).unwrap());
    let new = json!({"seed": 8, "model": {"name": "counted", "adapter": "a"}});
    let error = Journal::open(&path, new).unwrap_err();
    let shown = error.to_string().replace(path.to_str().unwrap(), "JOURNAL");
    assert_eq!(
        shown,
        "manifest: JOURNAL was made with another manifest (model.adapter: nothing -> \"a\"; seed: 7 -> 8); give these their old values, or fork the journal to keep the calls that were answered"
    );
    // The order of names says nothing.
    Journal::open(&path, json!({"seed": 7, "model": {"name": "counted"}})).unwrap();
}

#[test]
fn a_fork_pays_for_no_call_that_is_still_the_same() {
    let (folder, path) = folder();
    let forked = folder.path().join("forked.sqlite");
    let model = Counted::default();
    let mut old = Journal::create(&path, manifest()).unwrap();
    let first = run(&mut old, &model, texts(TEXTS)).unwrap();
    let calls = model.calls();
    let before = Status::read(&path).unwrap();

    // The old one is still open. The new one has texts before the old ones, so no outcome can be taken along.
    let new = json!({"model": {"name": "counted"}, "seed": 7, "more": true});
    let mut journal = Journal::fork(&path, &forked, new.clone()).unwrap();
    let status = Status::read(&forked).unwrap();
    assert_eq!((status.done(), status.answered), (0, u64::from(calls)));
    assert_eq!(status.spent.requests, 0, "they were paid elsewhere");
    block_on(journal.set_budget(Budget::new().with_requests(0))).unwrap();
    let report = run(&mut journal, &model, texts(TEXTS)).unwrap();
    assert_eq!((report.end, model.calls()), (End::Complete, calls));
    assert_eq!(
        report.progress.replayed,
        first.progress.replayed + u64::from(calls)
    );

    let out = folder.path().join("out");
    journal.export(&out).unwrap();
    let (mut found, mut whole) = (files(&out), undisturbed(TEXTS));
    assert!(
        found
            .remove("summary.json")
            .unwrap()
            .contains("\"more\": true")
    );
    whole.remove("summary.json");
    assert!(found == whole);
    drop(journal);
    Journal::open(&forked, new).unwrap();
    assert_eq!(Status::read(&path).unwrap(), before);
}

#[test]
fn a_fork_of_nothing_leaves_nothing() {
    let (folder, path) = folder();
    let error = Journal::fork(&path, folder.path().join("new.sqlite"), manifest()).unwrap_err();
    assert_eq!(error.kind(), "io");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
