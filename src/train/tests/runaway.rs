//! Losses that run away.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{examples, file, lora, policy};
use crate::{dataset::Existing, error::Result, train::*};

/// Its loss is one for some steps, and then another.
struct Turning {
    steps: Arc<AtomicUsize>,
    first: f64,
    good: usize,
    then: f64,
}

impl Turning {
    /// A run of 40 steps with a checkpoint every four, which is stopped after some.
    fn run(
        first: f64,
        good: usize,
        then: f64,
        stop: usize,
        folder: &Path,
    ) -> Result<TrainingReport> {
        Self::begin(first, good, then, stop, folder, Existing::Refuse)
    }

    fn resume(first: f64, good: usize, then: f64, folder: &Path) -> Result<TrainingReport> {
        Self::begin(first, good, then, NEVER, folder, Existing::Resume)
    }

    fn begin(
        first: f64,
        good: usize,
        then: f64,
        stop: usize,
        folder: &Path,
        existing: Existing,
    ) -> Result<TrainingReport> {
        let file = file();
        let policy = policy(&file, lora());
        let steps = Arc::new(AtomicUsize::new(0));
        let heard = steps.clone();
        let objective = Self {
            steps,
            first,
            good,
            then,
        };
        Trainer::new(objective)
            .with_batch(4)
            .with_steps(40)
            .with_checkpoints(4)
            .with_existing(existing)
            .with_observer(move |_| {
                if heard.fetch_add(1, Ordering::Relaxed) + 1 == stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .run(&policy, &examples(8), &[], folder)
    }
}

pub(super) const NEVER: usize = usize::MAX;

pub(super) fn checkpoint(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

impl Objective for Turning {
    fn name(&self) -> String {
        "turning".to_owned()
    }

    fn sequences(&self) -> usize {
        1
    }

    fn needs_reference(&self) -> bool {
        false
    }

    fn loss(&self, _: &[Score]) -> Loss {
        let good = self.steps.load(Ordering::Relaxed) < self.good;
        Loss {
            value: if good { self.first } else { self.then },
            weight: 1.0,
            slopes: vec![-1.0],
            rewards: None,
        }
    }
}

#[test]
fn a_run_that_runs_away_goes_back_to_a_checkpoint_that_is_known_to_be_good() {
    let file = file();
    for (good, then, runs_away, kept) in [
        // At once: the last checkpoint, of step 12, may be bad already.
        (13, 60.0, 14, 8),
        // Slowly: the running mean is 4.7 at step 12, which is in doubt, and above 6 at step 17.
        (8, 8.0, 17, 4),
        // Before there are two: what the run began with.
        (5, 60.0, 6, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = Turning::run(3.0, good, then, NEVER, folder.path());
        let error = run.unwrap_err().to_string();
        let reason = format!("its loss runs away at step {runs_away}");
        assert!(error.contains(&reason), "{error}");
        let left = checkpoint(folder.path(), "checkpoint.safetensors");
        assert_eq!(checkpoint::tests::step(&left), kept);
        assert!(!folder.path().join("checkpoint.before.safetensors").exists());
        // Nothing is held out: the adapter is that of the checkpoint.
        let adapter = Policy::builder(&file.path).with_adapter(folder.path());
        if kept == 0 {
            assert!(
                error.ends_with("No adapter from before is kept: it began too early"),
                "{error}"
            );
            assert!(adapter.load().is_err());
        } else {
            let reason = format!("The adapter of step {kept} is kept");
            assert!(error.ends_with(&reason), "{error}");
            let values = adapter.load().unwrap().initial;
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            let left = safetensors::SafeTensors::deserialize(&left).unwrap();
            assert!(left.tensor("parameters").unwrap().data() == bytes);
        }
    }
}

#[test]
fn easy_examples_at_first_are_no_reason_to_stop() {
    for (first, good) in [(0.3, 1), (0.1, 2), (0.8, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let report = Turning::run(first, good, 3.2, NEVER, folder.path()).unwrap();
        assert_eq!(report.steps, 40);
    }
}

#[test]
fn a_loss_that_runs_away_from_the_first_steps_on_is_seen() {
    for (good, then, step) in [(1, 12.0, 2), (2, 10.5, 5), (3, 9.0, 7), (2, 7.0, 9)] {
        let folder = tempfile::tempdir().unwrap();
        let run = Turning::run(3.0, good, then, NEVER, folder.path());
        let error = run.unwrap_err().to_string();
        let reason = format!("its loss runs away at step {step}:");
        assert!(error.contains(&reason), "{error}");
    }
}

/// A run goes on from a checkpoint that was written in doubt or because the run was stopped, and never goes back to
/// one.
#[test]
fn a_checkpoint_that_little_follows_is_not_gone_back_to() {
    // The running mean is above 4.5 from step 12 on, and above 6 at step 17.
    for (stop, before) in [(2, 0), (8, 4), (9, 4), (10, 4), (12, 4), (14, 4), (16, 4)] {
        let folder = tempfile::tempdir().unwrap();
        let report = Turning::run(3.0, 8, 8.0, stop, folder.path()).unwrap();
        assert!(report.stopped);
        for (name, step) in [
            ("checkpoint.safetensors", stop),
            ("checkpoint.before.safetensors", before),
        ] {
            let left = checkpoint(folder.path(), name);
            assert_eq!(checkpoint::tests::step(&left), step, "{stop}: {name}");
        }
        // What is left of its steps, of which the first 8 in all are good.
        let good = 8_usize.saturating_sub(stop);
        let run = Turning::resume(3.0, good, 8.0, folder.path());
        let error = run.unwrap_err().to_string();
        assert!(error.contains("its loss runs away at step 17"), "{error}");
        let left = checkpoint(folder.path(), "checkpoint.safetensors");
        let kept = checkpoint::tests::step(&left);
        assert!(kept <= 4, "{stop}: {kept}");
    }
}

/// Gives the held-out examples a loss that is not a number, and all others a good one.
struct NoNumber {
    /// The loss on what is held out.
    held_out: f64,
}

impl Objective for NoNumber {
    fn name(&self) -> String {
        "no number".to_owned()
    }

    fn sequences(&self) -> usize {
        1
    }

    fn needs_reference(&self) -> bool {
        false
    }

    fn loss(&self, scores: &[Score]) -> Loss {
        let [score] = scores else {
            panic!("one sequence an example");
        };
        Loss {
            value: if score.tokens == 1 {
                self.held_out
            } else {
                1.0
            },
            weight: 1.0,
            slopes: vec![-1.0],
            rewards: None,
        }
    }
}

#[test]
fn a_held_out_loss_that_is_no_number_at_first_leaves_no_run() {
    let file = file();
    let policy = policy(&file, lora());
    let held_out = [Example::completion(&[1, 2], &[3])];
    for (loss, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let folder = tempfile::tempdir().unwrap();
        let run = |loss| {
            let trainer = Trainer::new(NoNumber { held_out: loss }).with_steps(3);
            trainer.run(&policy, &examples(8), &held_out, folder.path())
        };
        let error = run(loss).unwrap_err().to_string();
        let reason = format!(
            "its held-out loss is {shown} before the first step, so nothing was trained and nothing is kept"
        );
        assert!(error.contains(&reason), "{error}");
        assert!(!has_run(folder.path()));
        // The next run need not be told to overwrite anything.
        assert_eq!(run(1.0).unwrap().steps, 3);
    }
}
