//! Folders that hold something already.

use std::{fs, path::Path};

use super::{
    examples, file, lora, policy,
    runaway::{NEVER, checkpoint},
    stop_after, trainer,
};
use crate::{backends::candle::training::Begin, dataset::Existing, train::*};

#[test]
fn a_run_goes_on_behind_a_checkpoint_that_is_damaged() {
    let file = file();
    let policy = policy(&file, lora());
    let run = |folder: &Path, existing, stop: usize| {
        trainer()
            .with_existing(existing)
            .with_observer(stop_after(stop))
            .run(&policy, &examples(40), &[], folder)
            .unwrap()
    };
    let [whole, damaged] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    run(whole.path(), Existing::Refuse, NEVER);
    run(damaged.path(), Existing::Refuse, 10);
    let last = damaged.path().join("checkpoint.safetensors");
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() / 2]).unwrap();
    run(damaged.path(), Existing::Resume, 4);
    assert_eq!(checkpoint::tests::step(&fs::read(&last).unwrap()), 10);
    run(damaged.path(), Existing::Resume, NEVER);
    let adapter = |folder: &Path| checkpoint(folder, "adapter_model.safetensors");
    assert!(adapter(damaged.path()) == adapter(whole.path()));
}

#[test]
fn the_adapter_that_training_begins_with_is_not_overwritten() {
    let file = file();
    let folder = tempfile::tempdir().unwrap();
    trainer()
        .run(&policy(&file, lora()), &examples(8), &[], folder.path())
        .unwrap();
    let files = || {
        ["adapter_model.safetensors", "adapter_config.json"]
            .map(|name| checkpoint(folder.path(), name))
    };
    let whole = files();
    let builder = Policy::builder(&file.path).with_adapter(folder.path());
    let policy = builder.load().unwrap();
    // By another name.
    let same = folder.path().join(".");
    let run = trainer()
        .with_existing(Existing::Overwrite)
        .run(&policy, &examples(8), &[], &same);
    let error = run.unwrap_err().to_string();
    assert!(
        error.contains("training begins with the adapter in this folder"),
        "{error}"
    );
    assert!(files() == whole);
    let other = tempfile::tempdir().unwrap();
    trainer()
        .with_existing(Existing::Overwrite)
        .run(&policy, &examples(8), &[], other.path())
        .unwrap();
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
    let run = trainer().with_steps(3);
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
