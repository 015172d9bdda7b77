//! The files that come of a journal.

use std::fs;

use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    dataset::{Existing, RunWriter, Summary},
    run::{End, FolderStore, Journal, export},
};

use crate::support::{Counted, files, folder, manifest, pipeline, run, texts};

/// Without a journal.
fn written(count: usize) -> (std::collections::BTreeMap<String, String>, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::create(folder.path(), manifest()).unwrap();
    let model = Counted::default();
    model.fail(true);
    let pipeline = pipeline(&model);
    let mut outcomes = Box::pin(pipeline.run(stream::iter(texts(count))));
    while let Some(outcome) = block_on(outcomes.next()) {
        writer.write(&outcome).unwrap();
    }
    let summary = writer.finish(true).unwrap();
    (files(folder.path()), summary)
}

#[test]
fn an_export_is_what_a_run_writer_writes() {
    let (folder, path) = folder();
    let model = Counted::default();
    model.fail(true);
    let mut journal = Journal::create(&path, manifest()).unwrap();
    let report = run(&mut journal, &model, texts(50)).unwrap();
    assert_eq!(report.end, End::Complete);
    let out = folder.path().join("out");
    let summary = journal.export(&out).unwrap();
    let (whole, expected) = written(50);
    assert!(files(&out) == whole);
    assert_eq!(summary, expected);
    // All kinds are there, and what ordered filters drop.
    assert!(summary.kept() > 0 && summary.failed() > 0, "{summary}");
    for code in ["fifth", "duplicate"] {
        let pair = safer_instruct::Stage::Pair;
        assert!(summary.dropped_for(pair, code) > 0, "{code}: {summary}");
    }
    // Nothing else is left behind, and the next export takes its place.
    fs::write(out.join("pairs.jsonl"), "old").unwrap();
    export(&path, &out).unwrap();
    assert!(files(&out) == whole);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
}

#[test]
fn a_folder_with_a_run_of_its_own_is_left_alone() {
    let (folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let out = folder.path().join("out");
    let refused = || {
        let error = journal.export(&out).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "output folder: {} holds another run; choose another folder",
                out.display()
            )
        );
    };
    let mut writer = RunWriter::create(&out, manifest()).unwrap();
    refused();
    let outcome = block_on(pipeline(&Counted::default()).process(texts(1).remove(0)));
    writer.write(&outcome).unwrap();
    writer.finish(true).unwrap();
    let summary = journal.export(&out).unwrap();
    assert_eq!((summary.read(), summary.is_complete()), (0, false));

    drop(FolderStore::open(&out, manifest(), Existing::Overwrite).unwrap());
    refused();
}
