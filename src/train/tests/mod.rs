//! Runs on a model file that is made in the test.

mod folder;
mod killed;
mod runaway;

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    backends::candle::{
        CandleModel, Precision,
        tests::tiny::{Tiny, Written, write},
    },
    dataset::Existing,
    model::{Prompt, ScoreRequest, ScoringModel},
    train::{example::Tokens, *},
};

pub(super) fn file() -> Written {
    write(&Tiny::new().bytes().1)
}

pub(super) fn policy(file: &Written, lora: Lora) -> Policy {
    Policy::builder(&file.path)
        .with_lora(lora)
        .with_threads(1)
        .with_seed(3)
        .load()
        .unwrap()
}

pub(super) fn lora() -> Lora {
    Lora::new().with_rank(4).with_alpha(8.0)
}

/// Completions that follow from their prompts: the first token again and again.
pub(super) fn examples(count: u32) -> Vec<Example> {
    (0..count)
        .map(|n| {
            let first = n % 26;
            let prompt: Vec<u32> = (0..5 + n % 7).map(|at| (first + at * 3) % 26).collect();
            Example::completion(&prompt, &vec![first; 3 + n as usize % 4])
        })
        .collect()
}

pub(super) fn preferences(count: u32) -> Vec<Example> {
    (0..count)
        .map(|n| {
            let prompt: Vec<u32> = (0..6).map(|at| (n + at * 5) % 26).collect();
            Example::preference(&prompt, &[1, 2, 1], &[3, 4, 3, 4])
        })
        .collect()
}

pub(super) fn trainer() -> Trainer<Sft> {
    Trainer::new(Sft)
        .with_learning_rate(5e-3)
        .with_batch(4)
        .with_micro_batch(40)
        .with_warm_up(2)
        .with_epochs(3)
        .with_evaluation(5)
        .with_checkpoints(3)
}

/// Stops a run after so many events.
pub(super) fn stop_after(
    events: usize,
) -> impl Fn(&TrainingEvent) -> ControlFlow<()> + Send + Sync {
    let heard = AtomicUsize::new(0);
    move |_| {
        if heard.fetch_add(1, Ordering::Relaxed) + 1 == events {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

fn adapter(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("adapter_model.safetensors")).unwrap()
}

#[test]
fn the_loss_of_an_adapter_in_16_bits_is_that_of_its_16_bits() {
    let file = file();
    let policy = policy(&file, lora());
    let held_out = examples(52).split_off(40);
    let folder = tempfile::tempdir().unwrap();
    let report = trainer()
        .with_numbers(Numbers::F16)
        .run(&policy, &examples(40), &held_out, folder.path())
        .unwrap();
    let written = Policy::builder(&file.path).with_adapter(folder.path());
    let loss = loss_of(&written.with_threads(1).load().unwrap(), &held_out);
    let best = report.held_out_best.unwrap();
    assert!((loss - best).abs() < 1e-9, "{loss} {best}");
}

/// Nats a token of the adapter that a policy begins with.
fn loss_of(policy: &Policy, examples: &[Example]) -> f64 {
    let all: Vec<&Example> = examples.iter().collect();
    let sums = policy.logprobs(&all, &policy.initial).unwrap();
    let tokens: usize = examples.iter().map(|e| e.sequences[0].scored).sum();
    -sums.iter().sum::<f64>() / tokens as f64
}

#[test]
fn training_lowers_the_loss_and_the_adapter_does_it_in_the_engine() {
    let file = file();
    let policy = policy(&file, lora());
    let (train, held_out) = (examples(40), examples(52).split_off(40));
    let folder = tempfile::tempdir().unwrap();
    let report = trainer()
        .with_learning_rate(0.01)
        .with_epochs(20)
        .run(&policy, &train, &held_out, folder.path())
        .unwrap();
    let (before, best) = (
        report.held_out_before.unwrap(),
        report.held_out_best.unwrap(),
    );
    assert!(best < 0.8 * before, "{before} {best}");
    assert_eq!((report.steps, report.stopped), (200, false));
    let lines = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 200 + 41);

    // The held-out loss again, from the adapter as it was written: by the trainer, and by the engine.
    let again = Policy::builder(&file.path)
        .with_adapter(folder.path())
        .with_threads(1)
        .load()
        .unwrap();
    assert_eq!((again.lora.rank, again.lora.alpha), (4, 8.0));
    let all: Vec<&Example> = held_out.iter().collect();
    let sums = again.logprobs(&all, &again.initial).unwrap();
    let loss = loss_of(&again, &held_out);
    assert!((loss - best).abs() < 1e-9, "{loss} {best}");

    let tuned = |adapter: bool| {
        let mut builder = CandleModel::builder(&file.path).with_precision(Precision::F32);
        if adapter {
            builder = builder.with_adapter(folder.path());
        }
        let model = builder.load().unwrap();
        let letters = |ids: &[u32]| model.tokenizer().decode(ids);
        let example = &held_out[0].sequences[0];
        let (prompt, completion) = example.ids.split_at(example.ids.len() - example.scored);
        let request = ScoreRequest::new(Prompt::Raw(letters(prompt)), [letters(completion)]);
        let scores = futures::executor::block_on(ScoringModel::score(&model, &request));
        scores.unwrap().continuations[0].logprob
    };
    assert!(
        (tuned(true) - sums[0]).abs() < 1e-3,
        "{} {}",
        tuned(true),
        sums[0]
    );
    assert!(
        (tuned(false) - tuned(true)).abs() > 0.05,
        "the adapter does nothing"
    );
}

#[test]
fn the_adapter_does_not_depend_on_threads() {
    // Not a multiple of the widths that kernels work in, when it is divided among threads.
    let file = write(&Tiny::sized(32, 416).bytes().1);
    let adapter = |rank, threads| {
        let policy = Policy::builder(&file.path)
            .with_lora(lora().with_rank(rank))
            .with_threads(threads)
            .load()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let trainer = trainer().with_steps(4);
        trainer
            .run(&policy, &examples(16), &[], folder.path())
            .unwrap();
        adapter(folder.path())
    };
    for rank in [1, 2, 3] {
        for threads in [2, 3] {
            assert!(
                adapter(rank, 1) == adapter(rank, threads),
                "rank {rank}, {threads} threads"
            );
        }
    }
}

#[test]
fn a_run_that_was_stopped_anywhere_ends_with_the_same_bytes() {
    let file = file();
    let lora = lora().with_dropout(0.1);
    let policy = policy(&file, lora);
    let (train, held_out) = (examples(40), examples(52).split_off(40));
    let whole = tempfile::tempdir().unwrap();
    let report = trainer()
        .run(&policy, &train, &held_out, whole.path())
        .unwrap();
    for stop in [1, 2, 7, 20, 37] {
        let folder = tempfile::tempdir().unwrap();
        let stopping = trainer().with_observer(stop_after(stop));
        let first = stopping
            .run(&policy, &train, &held_out, folder.path())
            .unwrap();
        assert_eq!(first.stopped, stop != 37, "{stop}");
        let resumed = trainer()
            .with_existing(Existing::Resume)
            .run(&policy, &train, &held_out, folder.path())
            .unwrap();
        assert_eq!(resumed, report, "{stop}");
        assert!(adapter(folder.path()) == adapter(whole.path()), "{stop}");
        let lines = |folder: &Path| {
            let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
            // Seconds differ.
            let lines = text
                .lines()
                .map(|line| line.split(",\"seconds\"").next().unwrap().to_owned());
            lines.collect::<Vec<_>>()
        };
        assert_eq!(lines(folder.path()), lines(whole.path()), "{stop}");
    }
}

#[test]
fn preferences_are_learnt() {
    let file = file();
    let policy = policy(&file, lora());
    let (train, held_out) = (preferences(20), preferences(26).split_off(20));
    for ipo in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let objective: Box<dyn Objective> = if ipo {
            Box::new(Ipo::new())
        } else {
            Box::new(Dpo::new())
        };
        let report = Trainer::new(objective)
            .with_learning_rate(2e-3)
            .with_batch(4)
            .with_epochs(4)
            .run(&policy, &train, &held_out, folder.path())
            .unwrap();
        let before = report.held_out_before.unwrap();
        // Where training begins, no response is preferred.
        let right = if ipo { 25.0 } else { std::f64::consts::LN_2 };
        assert!((before - right).abs() < 1e-9, "{before}");
        assert!(report.held_out_best.unwrap() < 0.95 * before, "{report:?}");
        let text = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.contains("\"held_out_reward_accuracy\":1.0"), "{last}");
    }
}

#[test]
fn the_reference_is_asked_once() {
    let file = file();
    let policy = policy(&file, lora());
    let (train, held_out) = (preferences(20), preferences(26).split_off(20));
    // Stops after so many events.
    let run = |folder: &Path, events: usize| {
        Trainer::new(Dpo::new())
            .with_learning_rate(2e-3)
            .with_batch(4)
            .with_existing(Existing::Resume)
            .with_observer(stop_after(events))
            .run(&policy, &train, &held_out, folder)
            .unwrap()
    };
    let [whole, resumed, misled] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    run(whole.path(), usize::MAX);
    let kept = |folder: &Path| fs::read(folder.join("reference.bin")).unwrap();
    run(resumed.path(), 3);
    assert!(kept(resumed.path()) == kept(whole.path()));
    // Damaged, it is made again.
    fs::write(resumed.path().join("reference.bin"), "no longer").unwrap();
    run(resumed.path(), usize::MAX);
    assert!(kept(resumed.path()) == kept(whole.path()));
    assert!(adapter(resumed.path()) == adapter(whole.path()));

    // A valid file is used as it is: with other numbers in it, the held-out loss is another from there on.
    run(misled.path(), 3);
    let checkpoint = fs::read(misled.path().join("checkpoint.safetensors")).unwrap();
    let fingerprint = checkpoint::tests::fingerprint(&checkpoint);
    reference::save(misled.path(), &fingerprint, &[0.0; 2 * 26]).unwrap();
    run(misled.path(), usize::MAX);
    assert!(adapter(misled.path()) != adapter(whole.path()));
}

#[test]
fn a_run_can_be_stopped_while_the_reference_is_asked() {
    let file = file();
    let policy = policy(&file, lora());
    let (train, held_out) = (preferences(20), preferences(26).split_off(20));
    let run = |folder: &Path, stop: usize| {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (note, asked) = (heard.clone(), AtomicUsize::new(0));
        let report = Trainer::new(Dpo::new())
            .with_learning_rate(2e-3)
            .with_batch(4)
            .with_micro_batch(60)
            .with_existing(Existing::Resume)
            .with_observer(move |event| {
                if let TrainingEvent::Reference(reference) = event {
                    note.lock().unwrap().push(reference.done);
                    assert_eq!(reference.total, 52);
                }
                if asked.fetch_add(1, Ordering::Relaxed) + 1 == stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .run(&policy, &train, &held_out, folder)
            .unwrap();
        let heard = heard.lock().unwrap().clone();
        (report, heard)
    };
    let [whole, stopped] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (_, all) = run(whole.path(), usize::MAX);
    assert!(all.len() > 6 && all.last() == Some(&52), "{all:?}");
    let (report, first) = run(stopped.path(), 2);
    assert!(report.stopped && report.steps == 0, "{report:?}");
    assert_eq!(first, all[..2]);
    assert!(!has_run(stopped.path()));
    // What was computed is not computed again.
    let (report, second) = run(stopped.path(), 3);
    assert!(report.stopped);
    assert_eq!(second, all[2..5]);
    let (report, third) = run(stopped.path(), usize::MAX);
    assert!(!report.stopped);
    assert_eq!(third, all[5..]);
    assert!(adapter(stopped.path()) == adapter(whole.path()));
}

#[test]
fn patience_ends_a_run_that_gets_no_better() {
    let file = file();
    let policy = policy(&file, lora());
    // What is held out are tokens that training makes less likely.
    let opposite = |example: &Example| {
        let Tokens { ids, scored } = &example.sequences[0];
        let (prompt, completion) = ids.split_at(ids.len() - scored);
        let other = 26 + completion[0] % 6;
        Example::completion(prompt, &vec![other; *scored])
    };
    let held_out: Vec<Example> = examples(40).iter().map(opposite).collect();
    let folder = tempfile::tempdir().unwrap();
    let trainer = trainer().with_learning_rate(0.02).with_patience(2);
    let report = trainer
        .run(&policy, &examples(40), &held_out, folder.path())
        .unwrap();
    assert!(
        report.steps < 30 && report.best_step + 10 == report.steps,
        "{report:?}"
    );
    assert!(!report.stopped);
    // The run has ended.
    let again = trainer.with_existing(Existing::Resume);
    assert_eq!(
        again
            .run(&policy, &examples(40), &held_out, folder.path())
            .unwrap(),
        report
    );
}

#[test]
fn a_loss_that_runs_away_stops_and_keeps_what_was_good() {
    let file = file();
    let policy = policy(&file, lora());
    let folder = tempfile::tempdir().unwrap();
    let trainer = trainer()
        .with_learning_rate(1e30)
        .with_max_gradient_norm(f64::INFINITY)
        .with_evaluation(0);
    let error = trainer
        .run(&policy, &examples(40), &examples(4), folder.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("its loss runs away at step"), "{error}");
    assert!(error.contains("lower learning rate"), "{error}");
    let kept = Policy::builder(&file.path)
        .with_adapter(folder.path())
        .load()
        .unwrap();
    assert!(kept.initial.iter().all(|value| value.is_finite()));
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let file = file();
    let policy = policy(&file, lora());
    let folder = tempfile::tempdir().unwrap();
    let run = |examples: &[Example]| {
        let error = trainer()
            .run(&policy, examples, &[], folder.path())
            .unwrap_err();
        error.to_string()
    };
    assert_eq!(run(&[]), "examples: there is nothing to train on");
    let empty = [
        Example::completion(&[1], &[2]),
        Example::completion(&[1], &[]),
    ];
    assert_eq!(
        run(&empty),
        "examples: example 1 cannot be trained on: its prompt or a completion is empty"
    );
    assert_eq!(
        run(&preferences(1)),
        "examples: example 0 cannot be trained on: it has 2 completions, and sft needs 1"
    );
    let long = Example::completion(&[1; 60], &[2; 5]);
    assert!(run(&[long]).contains("it has 65 tokens, more than the context of 64"));
    let unknown = [
        Example::completion(&[33], &[33]),
        Example::completion(&[1], &[34, 2]),
    ];
    assert_eq!(
        run(&unknown),
        "examples: example 1 cannot be trained on: it has the token 34, and the model has 34 tokens, counted from 0"
    );
    let error = trainer().run(&policy, &examples(4), &empty, folder.path());
    assert_eq!(
        error.unwrap_err().to_string(),
        "held_out: example 1 cannot be trained on: its prompt or a completion is empty"
    );
    let error = trainer()
        .with_warm_up(3)
        .run(&policy, &examples(4), &[], folder.path());
    assert_eq!(
        error.unwrap_err().to_string(),
        "warm_up: 3 steps are not fewer than the 3 of the run; set fewer"
    );
    assert!(
        !folder.path().join("metrics.jsonl").exists(),
        "nothing was begun"
    );
    let bad = Policy::builder(&file.path)
        .with_lora(Lora::new().with_rank(0))
        .load();
    assert!(
        bad.unwrap_err()
            .to_string()
            .starts_with("rank: 0 cannot be")
    );

    // Another run in the folder.
    trainer()
        .with_steps(3)
        .run(&policy, &examples(8), &[], folder.path())
        .unwrap();
    let error = trainer()
        .run(&policy, &examples(8), &[], folder.path())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("this folder holds a run already"),
        "{error}"
    );
    let error = trainer()
        .with_steps(3)
        .with_batch(2)
        .with_existing(Existing::Resume)
        .run(&policy, &examples(8), &[], folder.path())
        .unwrap_err();
    assert!(
        error.to_string().contains("its batch was 4 and is 2"),
        "{error}"
    );
}

#[test]
fn texts_become_examples() {
    let mut tiny = Tiny::new();
    tiny.set_size("context_length", 512);
    let file = write(&tiny.bytes().1);
    let policy = policy(&file, lora());
    // The vocabulary of the tiny model has small letters alone; what it does not know is left out.
    let prepared = policy
        .reversed(
            [
                ("abc", "the thing"),
                ("", "x"),
                ("a", " "),
                ("a", &"the ".repeat(600)),
                (&"a".repeat(300), "a"),
            ],
            256,
        )
        .unwrap();
    assert_eq!(
        prepared.skipped,
        [(1, Skip::Empty), (2, Skip::Empty), (4, Skip::TooLong)]
    );
    assert_eq!((prepared.examples.len(), prepared.truncated), (2, 1));
    for example in &prepared.examples {
        let tokens = &example.sequences[0];
        assert_eq!(tokens.ids.last(), Some(&33), "the end");
        assert!(tokens.ids.len() <= 256);
    }
    let prepared = policy
        .preferences(
            [
                ("a", "b", "c"),
                ("a", "b", "b"),
                ("a", "", "b"),
                ("a", &"z".repeat(70), "b"),
            ],
            64,
        )
        .unwrap();
    assert_eq!(prepared.examples.len(), 1);
    assert_eq!(
        prepared.skipped,
        [
            (1, Skip::NoPreference),
            (2, Skip::Empty),
            (3, Skip::TooLong)
        ]
    );
    let [chosen, rejected] = prepared.examples[0].sequences.as_slice() else {
        panic!("two sequences");
    };
    assert_eq!(chosen.ids[chosen.ids.len() - 2..], [1, 33]);
    assert_eq!(rejected.ids[rejected.ids.len() - 2..], [2, 33]);
}

#[test]
fn an_adapter_is_never_written_over_unasked() {
    let file = file();
    let policy = policy(&file, lora());
    let folder = tempfile::tempdir().unwrap();
    let (train, held_out) = (examples(8), examples(12).split_off(8));
    let run = |existing| {
        let trainer = trainer().with_steps(3).with_existing(existing);
        trainer.run(&policy, &train, &held_out, folder.path())
    };
    run(Existing::Refuse).unwrap();
    let before = adapter(folder.path());
    fs::remove_file(folder.path().join("checkpoint.safetensors")).unwrap();
    for existing in [Existing::Refuse, Existing::Resume] {
        assert!(run(existing).is_err());
        assert!(adapter(folder.path()) == before);
    }
    run(Existing::Overwrite).unwrap();
    // A checkpoint whose best adapter is gone.
    fs::remove_file(folder.path().join("adapter_model.safetensors")).unwrap();
    let error = run(Existing::Resume).unwrap_err().to_string();
    assert!(
        error.contains("the adapter of its best evaluation is gone"),
        "{error}"
    );
}

#[test]
fn an_objective_with_too_few_slopes_is_refused() {
    struct Short;
    impl Objective for Short {
        fn name(&self) -> String {
            "short".to_owned()
        }
        fn sequences(&self) -> usize {
            2
        }
        fn needs_reference(&self) -> bool {
            false
        }
        fn loss(&self, scores: &[Score]) -> Loss {
            let mut loss = Dpo::new().loss(scores);
            loss.slopes.pop();
            loss
        }
    }
    let file = file();
    let policy = policy(&file, lora());
    let folder = tempfile::tempdir().unwrap();
    let run = Trainer::new(Short).run(&policy, &preferences(4), &[], folder.path());
    let error = run.unwrap_err().to_string();
    assert!(
        error.contains("the objective short gives 1 slopes for 2 sequences"),
        "{error}"
    );
    assert!(check_slopes(&Short).is_err());
}
