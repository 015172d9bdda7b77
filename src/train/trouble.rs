//! Runs that go wrong.

use std::{
    fs,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    tests::{examples, file, lora, policy, trainer},
    *,
};
use crate::{backends::candle::training::Begin, dataset::Existing};

/// Its loss is 3 for some steps, and then another.
struct Turning {
    steps: Arc<AtomicUsize>,
    good: usize,
    then: f64,
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
            value: if good { 3.0 } else { self.then },
            weight: 1.0,
            slopes: vec![-1.0],
            rewards: None,
        }
    }
}

#[test]
fn a_run_that_runs_away_goes_back_to_a_checkpoint_that_is_known_to_be_good() {
    let file = file();
    let policy = policy(&file, lora());
    // Checkpoints are due every four steps.
    for (good, then, runs_away, kept) in [
        // At once: the last checkpoint, of step 12, may be bad already.
        (13, 60.0, 14, 8),
        // Slowly: the running mean is 4.7 at step 12, which is in doubt, and above 6 at step 17.
        (8, 8.0, 17, 4),
        // Before there are two: what the run began with.
        (5, 60.0, 6, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let steps = Arc::new(AtomicUsize::new(0));
        let heard = steps.clone();
        let objective = Turning { steps, good, then };
        let error = Trainer::new(objective)
            .with_batch(4)
            .with_steps(40)
            .with_checkpoints(4)
            .with_observer(move |_| {
                heard.fetch_add(1, Ordering::Relaxed);
                ControlFlow::Continue(())
            })
            .run(&policy, &examples(8), &[], folder.path())
            .unwrap_err()
            .to_string();
        let reason = format!("its loss runs away at step {runs_away}");
        assert!(error.contains(&reason), "{error}");
        let left = fs::read(folder.path().join("checkpoint.safetensors")).unwrap();
        assert_eq!(checkpoint::tests::step(&left), kept);
        assert!(!folder.path().join("checkpoint.before.safetensors").exists());
    }
}

#[test]
fn a_run_goes_on_only_with_the_adapter_that_it_writes() {
    let file = file();
    let named = |base: &str| {
        let builder = Policy::builder(&file.path).with_lora(lora());
        builder.with_base_name(base).load().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |base: &str, numbers| {
        let trainer = trainer().with_existing(Existing::Resume);
        let trainer = trainer.with_numbers(numbers);
        trainer.run(&named(base), &examples(8), &[], folder.path())
    };
    run("a/model", Numbers::F16).unwrap();
    for (base, numbers, difference) in [
        (
            "a/model",
            Numbers::F32,
            "its numbers was \"F16\" and is \"F32\"",
        ),
        (
            "another",
            Numbers::F16,
            "its base was \"a/model\" and is \"another\"",
        ),
    ] {
        let error = run(base, numbers).unwrap_err().to_string();
        assert!(error.contains(difference), "{error}");
    }
    run("a/model", Numbers::F16).unwrap();
}

#[test]
fn an_adapter_of_another_rank_is_refused_where_one_is_expected() {
    let file = file();
    let folder = tempfile::tempdir().unwrap();
    let run = trainer().with_steps(1);
    run.run(&policy(&file, lora()), &examples(4), &[], folder.path())
        .unwrap();
    let begin = Begin::read(&file.path, folder.path()).unwrap();
    let same = policy(&file, lora()).model.parameters(&begin);
    assert_eq!(same.unwrap().len(), policy(&file, lora()).parameters());
    for rank in [3, 5] {
        let other = policy(&file, lora().with_rank(rank));
        let error = other.model.parameters(&begin).unwrap_err().to_string();
        assert!(error.contains("does not fit the adapter"), "{error}");
    }
}
