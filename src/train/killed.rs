//! A process that is killed while it trains.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    ops::ControlFlow,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    Example, Sft, Trainer,
    tests::{examples, lora, policy},
};
use crate::{
    backends::candle::tests::tiny::{Tiny, Written, write},
    dataset::Existing,
};

/// Names the folder of the run of a worker.
const FOLDER: &str = "SAFER_INSTRUCT_TEST_FOLDER";
const KILLS: u32 = 20;

fn train(file: &Written, folder: &Path, told: impl Fn() + Send + Sync + 'static) {
    let policy = policy(file, lora().with_dropout(0.1));
    let held_out: Vec<Example> = examples(52).split_off(40);
    Trainer::new(Sft)
        .with_learning_rate(5e-3)
        .with_batch(4)
        .with_epochs(8)
        .with_evaluation(7)
        .with_checkpoints(3)
        .with_existing(Existing::Resume)
        .with_observer(move |_| {
            told();
            ControlFlow::Continue(())
        })
        .run(&policy, &examples(40), &held_out, folder)
        .unwrap();
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
    });
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
        let mut worker = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "train::killed::worker",
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, killed.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(worker.stderr.take().unwrap()).lines();
        let heard = lines
            .take(after as usize)
            .filter(|line| line.as_ref().unwrap() == "event");
        kills += u32::from(heard.count() == after as usize);
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    assert_eq!(kills, KILLS, "a run came to its end too soon");
    train(&file, killed.path(), || {});
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
