//! Tunes a small model in reverse: from a response to the instruction that it answers.
//!
//! ```text
//! cargo run --release --features train --example reverse_tune
//! cargo run --release --features train --example reverse_tune -- --pairs mine.jsonl
//! ```
//!
//! Without `--pairs` it downloads pairs of free licence (about 20 MB). Beside the model (98 MB) it downloads sentence embeddings (84 MB),
//! which say how good the instructions are. What comes out is a folder that the quickstart takes by `--adapter`.
//! Exit codes: 0 done, 1 failed, 2 bad arguments, 130 stopped with Ctrl-C.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod choice;
mod curve;
#[path = "../induction_quality/embedding.rs"]
mod embedding;
#[path = "../shared/fetch.rs"]
mod fetch;
mod free_pairs;
#[path = "../induction_quality/measure.rs"]
mod measure;
mod options;
#[path = "../induction_quality/pairs.rs"]
mod pairs;
mod process;
mod progress;
mod table;
mod written;

use std::process::ExitCode;

use choice::{Choice, Places};
use clap::Parser;
use options::Options;
use process::{Stop, base_name, fetch, name_left_out, stopped, stopped_after};
use progress::Progress;
use safer_instruct::{
    Error, Result,
    backends::candle::{CandleModel, Numbers},
    dataset::{Existing, InstructionPair},
    train::{Lora, Policy, Prepared, Sft, Trainer, has_run},
};
use table::Table;

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
    if options.existing() == Existing::Refuse && has_run(&options.output) {
        let reason = "this folder holds a run already; give --resume, --overwrite or another folder by --output";
        return Err(Error::input(&options.output, None, reason));
    }
    let (stop, progress) = (Stop::on_ctrl_c()?, Progress::new());
    let trainer = trainer(options, &stop, &progress);
    trainer.check_settings()?;
    let Some(choice) = Choice::of(options, &stop)? else {
        return Ok(stopped_after("some of the pairs were written"));
    };
    let Choice {
        train,
        held_out,
        places,
    } = choice;
    let model = fetch(options.cache.as_ref(), &options.model)?;
    let policy = Policy::builder(&model)
        .with_lora(
            Lora::new()
                .with_rank(options.rank)
                .with_alpha(2.0 * options.rank as f64)
                .with_dropout(options.dropout),
        )
        .with_base_name(base_name(&options.model))
        .with_context(options.max_tokens)
        .with_seed(options.seed)
        .load()?;
    let prepared = prepare(&policy, &train, "to train on", options, &places)?;
    let measured = prepare(&policy, &held_out, "to measure on", options, &places)?;

    progress.begin();
    let report = trainer.run(
        &policy,
        &prepared.examples,
        &measured.examples,
        &options.output,
    );
    progress.end();
    let report = report?;
    if report.stopped {
        return Ok(stopped(&report));
    }
    drop(policy);
    curve::draw(&options.output)?;
    if options.measure == 0 || held_out.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let table = Table {
        embedding: embedding::MiniLm::load(
            &fetch(options.cache.as_ref(), &embedding::weights())?,
            &fetch(options.cache.as_ref(), &embedding::tokenizer())?,
        )?,
        pairs: held_out.into_iter().take(options.measure).collect(),
        show: options.show,
    };
    let before = CandleModel::load(&model)?;
    let after = CandleModel::builder(&model)
        .with_adapter(&options.output)
        .load()?;
    if !table.print(&before, &after, &report, &stop)? {
        println!(
            "stopped before the table; the adapter is in {}",
            options.output.display()
        );
        return Ok(ExitCode::from(process::STOPPED));
    }
    println!(
        "\nThe adapter is in {0}, its loss as a picture in {0}/loss.svg. To make preference pairs with it:",
        options.output.display()
    );
    println!(
        "  cargo run --release --features candle --example quickstart -- --adapter {} --input your-texts.jsonl",
        options.output.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn prepare(
    policy: &Policy,
    pairs: &[InstructionPair],
    what: &str,
    options: &Options,
    places: &Places,
) -> Result<Prepared> {
    let texts = pairs.iter().map(|pair| (&pair.instruction, &pair.response));
    let prepared = policy.reversed(texts, options.max_tokens)?;
    eprintln!(
        "{} pairs {what}, {} of them with a shortened response",
        prepared.examples.len(),
        prepared.truncated
    );
    name_left_out(&prepared, what, |at| places.of(pairs.get(at)?));
    if prepared.examples.is_empty() && !pairs.is_empty() {
        let reason = format!(
            "of {} pairs none is left {what}; is --max-tokens too low?",
            pairs.len()
        );
        return Err(Error::config("pairs", reason));
    }
    Ok(prepared)
}

fn trainer(options: &Options, stop: &Stop, progress: &Progress) -> Trainer<Sft> {
    let mut trainer = Trainer::new(Sft)
        .with_learning_rate(options.learning_rate)
        .with_batch(options.batch)
        .with_epochs(options.epochs)
        .with_seed(options.seed)
        .with_existing(options.existing())
        .with_numbers(if options.half {
            Numbers::F16
        } else {
            Numbers::F32
        })
        .with_observer(stop.observer(progress));
    if let Some(steps) = options.steps {
        trainer = trainer.with_steps(steps);
    }
    if let Some(patience) = options.patience {
        trainer = trainer.with_patience(patience);
    }
    trainer
}
