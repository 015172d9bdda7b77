//! The file itself: who may have it, and what becomes of it when it is damaged.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use rusqlite::Connection;
use safer_instruct::{
    Error,
    run::{Journal, Status, export},
};

use crate::support::{Counted, files, folder, manifest, run, texts, undisturbed};

/// Names the journal that a worker holds.
const HELD: &str = "SAFER_INSTRUCT_TEST_JOURNAL";

/// The process that holds a journal until its input ends.
#[test]
#[ignore = "it is started by the test below"]
fn holder() {
    if let Some(path) = env::var_os(HELD) {
        let _journal = Journal::open(path, manifest()).unwrap();
        writeln!(std::io::stderr(), "open").unwrap();
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }
}

#[test]
fn one_process_writes_and_others_may_look() {
    let (_folder, path) = folder();
    run(
        &mut Journal::create(&path, manifest()).unwrap(),
        &Counted::default(),
        texts(4),
    )
    .unwrap();
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "file::holder", "--ignored", "--nocapture"])
        .env(HELD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stderr.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "open");

    let error = Journal::open(&path, manifest()).unwrap_err();
    let report = error.report();
    assert!(matches!(error, Error::Io { .. }), "{report}");
    assert!(report.contains("run.sqlite.lock: it is in use"), "{report}");
    let status = Status::read(&path).unwrap();
    assert_eq!((status.done(), status.complete), (8, true));

    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    Journal::open(&path, manifest()).unwrap();
}

#[test]
fn a_model_that_is_recorded_keeps_the_journal() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let model = journal.record(Counted::default(), "counted");
    drop(journal);
    assert_eq!(Journal::open(&path, manifest()).unwrap_err().kind(), "io");
    drop(model);
    Journal::open(&path, manifest()).unwrap();
}

#[test]
fn a_journal_that_is_there_is_not_created_again() {
    let (_folder, path) = folder();
    drop(Journal::create(&path, manifest()).unwrap());
    let error = Journal::create(&path, manifest()).unwrap_err();
    let shown = error.to_string().replace(path.to_str().unwrap(), "JOURNAL");
    assert_eq!(
        shown,
        "journal: JOURNAL is there already; open it to go on, or choose another path"
    );
}

#[test]
fn a_creation_that_was_killed_halfway_is_begun_anew() {
    let (folder, path) = folder();
    fs::write(folder.path().join("run.sqlite.partial"), "half of it").unwrap();
    Journal::create(&path, manifest()).unwrap();
    assert!(!folder.path().join("run.sqlite.partial").exists());
}

fn refusal(path: &Path) -> String {
    let error = Journal::open(path, manifest()).unwrap_err();
    let shown = error.report().replace(path.to_str().unwrap(), "JOURNAL");
    let status = Status::read(path).map(|_| ());
    if let Err(error) = status {
        assert!(matches!(error, Error::Input { .. } | Error::Io { .. }));
    }
    shown
}

#[test]
fn what_is_no_journal_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    let no_journal = "JOURNAL: not the journal of a run: give the path of one, or of a file that does not exist yet to create one";
    for content in ["", "You will never learn it.\n", &"garbage ".repeat(5_000)] {
        fs::write(&path, content).unwrap();
        assert_eq!(refusal(&path), no_journal, "{} bytes", content.len());
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE notes (note)")
        .unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(refusal(&path), no_journal);
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_newer_schema_is_refused() {
    let (_folder, path) = folder();
    drop(Journal::create(&path, manifest()).unwrap());
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 2)
        .unwrap();
    assert_eq!(
        refusal(&path),
        "JOURNAL: the journal has the schema 2, and this version of the library knows 1: take the version that made it"
    );
}

#[test]
fn a_file_that_is_cut_off_is_refused_wherever_the_cut_is() {
    let (folder, path) = folder();
    run(
        &mut Journal::create(&path, manifest()).unwrap(),
        &Counted::default(),
        texts(12),
    )
    .unwrap();
    let whole = fs::read(&path).unwrap();
    let cut = folder.path().join("cut.sqlite");
    for eighths in 1..8 {
        fs::write(&cut, &whole[..whole.len() * eighths / 8]).unwrap();
        let error = Journal::open(&cut, manifest()).unwrap_err();
        assert!(
            matches!(&error, Error::Input { reason, .. } if reason.contains("damaged or cut off")),
            "{eighths}: {}",
            error.report()
        );
    }
}

/// A power cut may leave any beginning of the log that was not yet on the disk.
#[test]
fn a_log_that_is_cut_off_anywhere_leaves_a_run_that_goes_on_to_the_same_bytes() {
    let (folder, path) = folder();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    run(&mut journal, &Counted::default(), texts(12)).unwrap();
    let log = fs::read(folder.path().join("run.sqlite-wal")).unwrap();
    let whole = undisturbed(12);
    let mut done = Vec::new();
    for cut in 0..=16 {
        let copy = tempfile::tempdir().unwrap();
        let to = copy.path().join("run.sqlite");
        fs::copy(&path, &to).unwrap();
        fs::write(
            copy.path().join("run.sqlite-wal"),
            &log[..log.len() * cut / 16],
        )
        .unwrap();
        let mut journal = Journal::open(&to, manifest()).unwrap();
        done.push(journal.done());
        run(&mut journal, &Counted::default(), texts(12)).unwrap();
        let out = copy.path().join("out");
        journal.export(&out).unwrap();
        assert!(files(&out) == whole, "cut at {cut} of 16");
    }
    assert!(
        done.is_sorted() && done[0] == 0 && done[16] == 24,
        "{done:?}"
    );
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let (folder, path) = folder();
    fs::write(&path, "a file").unwrap();
    let below = path.join("run.sqlite");
    for error in [
        Journal::create(&below, manifest()).unwrap_err(),
        Journal::create(folder.path().join("none/run.sqlite"), manifest()).unwrap_err(),
        Journal::open(folder.path().join("other.sqlite"), manifest()).unwrap_err(),
        Status::read(folder.path().join("other.sqlite")).unwrap_err(),
    ] {
        let report = error.report();
        assert!(
            matches!(error, Error::Io { .. }) && report.contains(".sqlite"),
            "{report}"
        );
    }
    // The folder of an export, too.
    let journal = folder.path().join("good.sqlite");
    drop(Journal::create(&journal, manifest()).unwrap());
    assert_eq!(export(&journal, path.join("out")).unwrap_err().kind(), "io");
}
