//! Disks that are full or fail.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    trial::{Session, Trial, blocks, copy_files},
    worker::Store,
};

/// The error says what a user can do, and which file it is.
fn assert_helpful(session: &Session, file: &Path) {
    let file = file.to_str().unwrap();
    let error = session
        .output
        .lines()
        .find(|line| line.starts_with("error "));
    let error = error.unwrap_or_else(|| panic!("no error: {session:?}"));
    assert!(!session.killed && error.contains(file), "{error}");
    let helps = [
        "free space",
        "look at it and open the journal again",
        "File too large",
        "No space left",
        "Input/output error",
    ];
    assert!(helps.iter().any(|help| error.contains(help)), "{error}");
}

/// In the creation of a journal, in its index and in its log; in the larger files of a folder.
const LIMITS: [(Store, &[u64]); 2] = [
    (Store::Journal, &[8, 40, 100, 400, 1_000]),
    (Store::Folder, &[1, 5, 20]),
];

#[test]
fn a_file_that_may_not_grow_ends_the_run_with_an_error_and_it_goes_on_later() {
    for (store, kilobytes) in every(&LIMITS) {
        let bytes = kilobytes << 10;
        let mut trial = Trial::new(store);
        let file = file_of(&trial);
        // Without the signal it is an error, as a full disk is.
        let limit = blocks(bytes);
        trial.script = Some(format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\""));
        assert_helpful(trial.session(None), &file);
        trial.check_store().unwrap();
        // Another session on the full disk gets no further.
        assert_helpful(trial.session(None), &file);
        trial.script = None;
        trial.check_store().unwrap();
        trial.finish().unwrap();
    }
}

fn every(of: &[(Store, &[u64])]) -> Vec<(Store, u64)> {
    of.iter()
        .flat_map(|(store, numbers)| numbers.iter().map(|number| (*store, *number)))
        .collect()
}

/// What the path in an error begins with.
fn file_of(trial: &Trial) -> PathBuf {
    match trial.order.store {
        Store::Journal => trial.journal(),
        Store::Folder => trial.order.folder.clone(),
    }
}

/// Whether a small disk can be mounted here.
fn can_mount() -> bool {
    let script = "mount -t tmpfs -o size=64k tmpfs /mnt";
    let tried = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        println!("skipped: no disk can be mounted here");
    }
    can
}

#[test]
fn a_full_disk_ends_the_run_with_an_error_and_it_goes_on_where_there_is_room() {
    if !can_mount() {
        return;
    }
    let sizes: [(Store, &[u64]); 2] = [
        (Store::Journal, &[32, 128, 400]),
        (Store::Folder, &[16, 48, 96]),
    ];
    for (store, kilobytes) in every(&sizes) {
        let mut trial = Trial::new(store);
        let file = file_of(&trial);
        let (run, kept) = (trial.order.folder.clone(), trial.beside("kept"));
        fs::create_dir(&kept).unwrap();
        let script = format!(
            "mount -t tmpfs -o size={kilobytes}k tmpfs {run} && \"$@\"; code=$?; cp -r {run}/. {kept}; exit $code",
            run = run.display(),
            kept = kept.display(),
        );
        trial.script = Some(format!("exec unshare -rm sh -c '{script}' sh \"$@\""));
        assert_helpful(trial.session(None), &file);
        copy_files(&kept, &run);
        trial.script = None;
        trial.check_store().unwrap();
        trial.finish().unwrap();
    }
}

#[test]
fn an_export_that_does_not_fit_leaves_the_one_before() {
    if !can_mount() {
        return;
    }
    let mut trial = Trial::new(Store::Journal);
    let (out, kept) = (trial.order.folder.join("out"), trial.beside("kept"));
    for folder in [&out, &kept] {
        fs::create_dir(folder).unwrap();
    }
    let script = format!(
        "mount -t tmpfs -o size=24k tmpfs {out} && echo old >{out}/pairs.jsonl && \"$@\"; code=$?; cp {out}/* {kept}; exit $code",
        out = out.display(),
        kept = kept.display(),
    );
    trial.script = Some(format!("exec unshare -rm sh -c '{script}' sh \"$@\""));
    assert_helpful(trial.session(None), &out);
    assert_eq!(fs::read(kept.join("pairs.jsonl")).unwrap(), b"old\n");
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 1);
    trial.script = None;
    trial.finish().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fails_to_sync_ends_the_run_with_an_error_and_it_goes_on_later() {
    // A busy machine writes more outcomes in one go, so a run may have few syncs.
    let syncs: [(Store, &[u64]); 2] = [
        (Store::Journal, &[1, 2, 3, 10, 30]),
        (Store::Folder, &[1, 2, 3, 10, 20]),
    ];
    for (store, sync) in every(&syncs) {
        let mut trial = Trial::new(store);
        let file = file_of(&trial);
        crate::power::watch(&mut trial);
        fs::create_dir(trial.beside("disk")).unwrap();
        let number = sync.to_string();
        trial.variables.push(("SAFER_FAULTS_FAIL", number.into()));
        assert_helpful(trial.session(None), &file);
        trial.variables.clear();
        trial.check_store().unwrap();
        trial.finish().unwrap();
    }
}
