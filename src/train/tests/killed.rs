//! A process that is killed while it trains.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    ops::ControlFlow,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{examples, lora, policy};
use crate::{
    backends::candle::tests::tiny::{Tiny, Written, write},
    dataset::Existing,
    error::Result,
    train::{Example, Sft, Trainer, TrainingReport, remove_run},
};

/// Names the folder of the run of a worker.
const FOLDER: &str = "SAFER_INSTRUCT_TEST_FOLDER";
/// Set if the worker is to wait after every event for a line of its standard input.
const WAITS: &str = "SAFER_INSTRUCT_TEST_WAITS";
const KILLS: u32 = 20;

fn train(file: &Written, folder: &Path, told: impl Fn() + Send + Sync + 'static) {
    try_train(file, folder, Existing::Resume, told).unwrap();
}

fn try_train(
    file: &Written,
    folder: &Path,
    existing: Existing,
    told: impl Fn() + Send + Sync + 'static,
) -> Result<TrainingReport> {
    // So large that a checkpoint is larger than all other files.
    let policy = policy(file, lora().with_rank(16).with_dropout(0.1));
    let held_out: Vec<Example> = examples(52).split_off(40);
    Trainer::new(Sft)
        .with_learning_rate(5e-3)
        .with_batch(4)
        .with_epochs(8)
        .with_evaluation(7)
        .with_checkpoints(3)
        .with_existing(existing)
        .with_observer(move |_| {
            told();
            ControlFlow::Continue(())
        })
        .run(&policy, &examples(40), &held_out, folder)
}

/// The process that is killed; it says a line for every event.
#[test]
#[ignore = "it is started by the test below"]
fn worker() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let file = write(&Tiny::new().bytes().1);
    train(&file, folder.as_ref(), || {
        let _ = writeln!(std::io::stderr(), "event");
        if env::var_os(WAITS).is_some() {
            let _ = std::io::stdin().read_line(&mut String::new());
        }
    });
}

/// Starts a process that trains into a folder.
fn start(folder: &Path, waits: bool) -> Child {
    start_by(Command::new(env::current_exe().unwrap()), folder, waits)
}

/// The same, by a command that ends with the name of this program.
fn start_by(mut command: Command, folder: &Path, waits: bool) -> Child {
    command
        .args([
            "--exact",
            "train::tests::killed::worker",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if waits {
        command.env(WAITS, "1");
    }
    command.spawn().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let file = write(&Tiny::new().bytes().1);
    let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    train(&file, whole.path(), || {});
    let mut kills = 0;
    for round in 0..KILLS {
        // Somewhere in what is left: the checkpoint before it may be as old as three steps, or be written just now.
        let after = 1 + (round * 7 + 3) % 11;
        let mut worker = start(killed.path(), false);
        let lines = BufReader::new(worker.stderr.take().unwrap()).lines();
        let heard = lines
            .take(after as usize)
            .filter(|line| line.as_ref().unwrap() == "event");
        kills += u32::from(heard.count() == after as usize);
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    assert_eq!(kills, KILLS, "a run came to its end too soon");
    // As a kill in the middle of a write leaves it, and what others may have put there.
    for name in [".safer-instruct-partial-a1B2c3", ".partial-notes"] {
        fs::write(killed.path().join(name), "half").unwrap();
    }
    train(&file, killed.path(), || {});
    let left = names(killed.path());
    assert_eq!(
        left,
        [
            &[".partial-notes".to_owned()],
            names(whole.path()).as_slice()
        ]
        .concat()
    );
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
        let [a, b] = [&whole, &killed].map(|folder| fs::read(folder.path().join(name)).unwrap());
        assert!(a == b, "{name}");
    }
    // Every step stands there once.
    let lines = |folder: &Path| {
        let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let cut = |line: &str| line.split(",\"seconds\"").next().unwrap().to_owned();
        text.lines().map(cut).collect::<Vec<_>>()
    };
    assert_eq!(lines(killed.path()), lines(whole.path()));
}

#[test]
fn a_folder_that_another_process_trains_into_is_refused() {
    let file = write(&Tiny::new().bytes().1);
    let folder = tempfile::tempdir().unwrap();
    let mut worker = start(folder.path(), true);
    let mut lines = BufReader::new(worker.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "event"));
    let before = names(folder.path());
    for existing in [Existing::Resume, Existing::Overwrite] {
        let error = try_train(&file, folder.path(), existing, || {}).unwrap_err();
        let error = error.report().to_string();
        assert!(error.contains("it is in use by another process"), "{error}");
    }
    assert!(remove_run(folder.path()).is_err());
    assert_eq!(names(folder.path()), before);
    worker.kill().unwrap();
    worker.wait().unwrap();
    // The lock ends with its process.
    train(&file, folder.path(), || {});
    remove_run(folder.path()).unwrap();
    assert!(names(folder.path()).is_empty());
    remove_run(folder.path().join("never")).unwrap();
}

#[cfg(unix)]
#[test]
fn a_checkpoint_that_the_disk_cannot_hold_leaves_the_one_before() {
    let file = write(&Tiny::new().bytes().1);
    let [whole, full] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    train(&file, whole.path(), || {});
    // Killed after step 10, with the checkpoint of step 9.
    let mut worker = start(full.path(), true);
    worker
        .stdin
        .as_mut()
        .unwrap()
        .write_all(&[b'\n'; 10])
        .unwrap();
    let lines = BufReader::new(worker.stderr.take().unwrap()).lines();
    assert_eq!(lines.take(11).count(), 11);
    worker.kill().unwrap();
    worker.wait().unwrap();
    let before = fs::read(full.path().join("checkpoint.safetensors")).unwrap();

    // Files of less than a checkpoint, and an error instead of a signal: what a full disk does, without filling one.
    // The unit is 512 bytes in some shells and 1,024 in others.
    let script = "ulimit -f 160; trap '' XFSZ; exec \"$@\"";
    assert!(before.len() > 160 * 1024);
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sh"])
        .arg(env::current_exe().unwrap());
    let worker = start_by(command, full.path(), false);
    let output = worker.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        error.contains("checkpoint.safetensors") && error.contains("File too large"),
        "{error}"
    );
    let left = names(full.path());
    assert!(
        !left.iter().any(|name| name.contains("partial")),
        "{left:?}"
    );
    let last = left.iter().rfind(|name| name.starts_with("checkpoint"));
    assert!(fs::read(full.path().join(last.unwrap())).unwrap() == before);

    train(&file, full.path(), || {});
    assert_eq!(names(full.path()), names(whole.path()));
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
        let [a, b] = [&whole, &full].map(|folder| fs::read(folder.path().join(name)).unwrap());
        assert!(a == b, "{name}");
    }
}
