//! Tunes a small model on preference pairs: supervised on the chosen responses, then by direct preference optimization, as the paper does.
//!
//! ```text
//! cargo run --release --features train --example preference_tune -- --pairs out/pairs.jsonl
//! ```
//!
//! Without `--pairs` it shows on a preference that can be counted what happens: short answers are chosen, long ones rejected.
//! Exit codes: 0 done, 1 failed, 2 bad arguments, 130 stopped with Ctrl-C.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod answers;
#[path = "../shared/fetch.rs"]
mod fetch;
#[path = "../reverse_tune/free_pairs/mod.rs"]
mod free_pairs;
mod options;
mod pairs;
#[path = "../reverse_tune/process.rs"]
mod process;
#[path = "../reverse_tune/progress.rs"]
mod progress;

use std::{path::Path, process::ExitCode};

use clap::Parser;
use options::Options;
use pairs::{Choice, Pair};
use process::{Stop, base_name, fetch, stopped};
use progress::Progress;
use safer_instruct::{
    Error, Result,
    dataset::Existing,
    train::{
        Dpo, Lora, Objective, Policy, Prepared, Sft, Trainer, TrainingReport, has_run, remove_run,
    },
};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    let [sft, dpo] = ["sft", "dpo"].map(|name| options.output.join(name));
    if options.existing() == Existing::Refuse
        && let Some(folder) = [&sft, &dpo].into_iter().find(|folder| has_run(folder))
    {
        let reason = "this folder holds a run already; give --resume, --overwrite or another folder by --output";
        return Err(Error::input(folder, None, reason));
    }
    let objective = Dpo::new()
        .with_beta(options.beta)?
        .with_label_smoothing(options.label_smoothing)?;
    let choice = Choice::of(options)?;
    let model = fetch(options.cache.as_ref(), &options.model)?;
    let stop = Stop::on_ctrl_c()?;

    // All that can be wrong is found before anything is removed or trained.
    let progress = Progress::new();
    let first = trainer(Sft, options.sft_learning_rate, options, &stop, &progress)
        .with_epochs(options.sft_epochs.max(1));
    let second = trainer(objective, options.learning_rate, options, &stop, &progress)
        .with_epochs(options.epochs);
    let begin = policy(options, &model, None)?;
    let prepared = |what: &str, make: &dyn Fn(&[Pair]) -> Result<Prepared>| -> Result<_> {
        let train = choice.prepare(&choice.train, &format!("to train on, {what}"), make)?;
        let held_out = choice.prepare(&choice.held_out, &format!("to measure on, {what}"), make)?;
        Ok([train, held_out])
    };
    let responses = match options.sft_epochs {
        0 => None,
        _ => Some(prepared("by their chosen responses", &|pairs| {
            let texts = pairs
                .iter()
                .map(|pair| (&pair.texts.prompt, &pair.texts.chosen));
            begin.responses(texts, options.max_tokens)
        })?),
    };
    let preferences = prepared("by their preferences", &|pairs| {
        let texts = pairs
            .iter()
            .map(|Pair { texts, .. }| (&texts.prompt, &texts.chosen, &texts.rejected));
        begin.preferences(texts, options.max_tokens)
    })?;
    if let Some([train, held_out]) = &responses {
        first.check(&begin, &train.examples, &held_out.examples)?;
    }
    let [train, held_out] = &preferences;
    second.check(&begin, &train.examples, &held_out.examples)?;
    if options.overwrite {
        // Both before the first begins: if it is stopped, --resume must not meet the other of before. The second first: it goes on
        // from the first, and another process may be at it.
        remove_run(&dpo)?;
        remove_run(&sft)?;
    }

    let policy = match &responses {
        None => begin,
        Some(examples) => {
            eprintln!("on the chosen responses:");
            let report = tune(&first, &begin, examples, &sft, &progress)?;
            if report.stopped {
                return Ok(stopped(&report));
            }
            drop(begin);
            policy(options, &model, Some(&sft))?
        }
    };
    eprintln!("on the preferences:");
    let report = tune(&second, &policy, &preferences, &dpo, &progress)?;
    if report.stopped {
        return Ok(stopped(&report));
    }
    drop(policy);

    let prompts = choice.held_out.iter().take(options.measure);
    let prompts: Vec<&str> = prompts.map(|pair| pair.texts.prompt.as_str()).collect();
    if !prompts.is_empty() {
        println!("\n{}", answers::header(prompts.len()));
        let tuned = options.sft_epochs > 0;
        let rows = [
            ("the model before", None),
            (
                "tuned on the chosen responses",
                Some(&sft).filter(|_| tuned),
            ),
            ("tuned on the preferences", Some(&dpo)),
        ];
        for (at, (name, adapter)) in rows.into_iter().enumerate() {
            if (adapter.is_some() || at == 0) && !stop.is_heard() {
                println!("{}", answers::row(name, &model, adapter, &prompts)?);
            }
        }
    }
    println!("\nthe adapter is in {}", dpo.display());
    Ok(if stop.is_heard() {
        ExitCode::from(process::STOPPED)
    } else {
        ExitCode::SUCCESS
    })
}

fn policy(options: &Options, model: &Path, adapter: Option<&Path>) -> Result<Policy> {
    let rank = options.rank;
    let mut builder = Policy::builder(model)
        .with_lora(Lora::new().with_rank(rank).with_alpha(2.0 * rank as f64))
        .with_base_name(base_name(&options.model))
        .with_context(options.max_tokens)
        .with_seed(options.seed);
    if let Some(adapter) = adapter {
        builder = builder.with_adapter(adapter);
    }
    builder.load()
}

fn trainer<O: Objective>(
    objective: O,
    learning_rate: f64,
    options: &Options,
    stop: &Stop,
    progress: &Progress,
) -> Trainer<O> {
    Trainer::new(objective)
        .with_learning_rate(learning_rate)
        .with_batch(options.batch)
        .with_seed(options.seed)
        .with_existing(options.existing())
        .with_observer(stop.observer(progress))
}

fn tune<O: Objective>(
    trainer: &Trainer<O>,
    policy: &Policy,
    [train, held_out]: &[Prepared; 2],
    folder: &Path,
    progress: &Progress,
) -> Result<TrainingReport> {
    progress.begin();
    let report = trainer.run(policy, &train.examples, &held_out.examples, folder);
    progress.end();
    report
}
