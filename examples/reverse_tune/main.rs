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

use std::{path::Path, process::ExitCode};

use clap::Parser;
use futures::executor::block_on;
use options::Options;
use process::{Stop, fetch, stopped};
use progress::Progress;
use safer_instruct::{
    Error, Result,
    backends::candle::{CandleModel, Numbers},
    dataset::{InstructionPair, hold_out},
    train::{Grounding, Lora, Policy, Prepared, Report, SelfInstruct, Sft, Trainer},
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
    let (train, held_out) = read_pairs(options)?;
    let model = fetch(options.cache.as_ref(), &options.model)?;
    let policy = Policy::builder(&model)
        .with_lora(
            Lora::new()
                .with_rank(options.rank)
                .with_alpha(2.0 * options.rank as f64),
        )
        .with_base_name(options.base_name())
        .with_context(options.max_tokens)
        .with_seed(options.seed)
        .load()?;
    let prepared = prepare(&policy, &train, "to train on", options)?;
    let measured = prepare(&policy, &held_out, "to measure on", options)?;

    let stop = Stop::on_ctrl_c()?;
    let report = tune(&policy, &prepared, &measured, options, &stop)?;
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
    table.print(&before, &after, &report)?;
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

/// Pairs to train on, and others to measure on.
fn read_pairs(options: &Options) -> Result<(Vec<InstructionPair>, Vec<InstructionPair>)> {
    let all = match (&options.pairs, options.self_instruct) {
        (Some(path), _) => read(options, path)?,
        (None, Some(count)) => write_pairs(options, count)?,
        (None, None) => {
            free_pairs::pairs(|source| fetch(options.cache.as_ref(), source), options.seed)?
        }
    };
    let (mut train, mut held_out) = match &options.held_out_pairs {
        Some(path) => (
            all,
            hold_out(read(options, path)?, options.held_out, options.seed).1,
        ),
        None => hold_out(all, options.held_out, options.seed),
    };
    if train.is_empty() {
        let reason = format!(
            "--held-out takes all {} pairs, and none is left to train on; hold out fewer",
            held_out.len()
        );
        return Err(Error::config("held_out", reason));
    }
    train.truncate(options.limit);
    held_out.truncate(options.held_out);
    Ok((train, held_out))
}

fn read(options: &Options, path: &Path) -> Result<Vec<InstructionPair>> {
    if path == Path::new("sharegpt") {
        let file = fetch(options.cache.as_ref(), &pairs::share_gpt())?;
        return pairs::read_share_gpt(&file);
    }
    pairs::read(path)
}

/// Pairs that a model writes, as far as the model that is tuned finds them grounded.
fn write_pairs(options: &Options, count: usize) -> Result<Vec<InstructionPair>> {
    let load = |source| CandleModel::load(fetch(options.cache.as_ref(), source)?);
    let writer = load(options.writer.as_ref().unwrap_or(&options.model))?;
    eprintln!("writing {count} pairs");
    let pairs = block_on(SelfInstruct::new(writer).write(count, options.seed))?;
    let written = pairs.len();
    let grounding = Grounding::new(load(&options.model)?).with_least(options.grounding);
    let (pairs, dropped) = block_on(grounding.keep(pairs))?;
    eprintln!(
        "{count} pairs asked for, {written} whole and distinct, {dropped} of them not grounded"
    );
    Ok(pairs)
}

fn prepare(
    policy: &Policy,
    pairs: &[InstructionPair],
    what: &str,
    options: &Options,
) -> Result<Prepared> {
    let texts = pairs.iter().map(|pair| (&pair.instruction, &pair.response));
    let prepared = policy.reversed(texts, options.max_tokens)?;
    eprintln!(
        "{} pairs {what}, {} of them with a shortened response",
        prepared.examples.len(),
        prepared.truncated
    );
    for (at, why) in prepared.skipped.iter().take(5) {
        eprintln!("pair {} is left out: {why}", at + 1);
    }
    if prepared.skipped.len() > 5 {
        eprintln!("and {} more", prepared.skipped.len() - 5);
    }
    if prepared.examples.is_empty() && !pairs.is_empty() {
        let reason = format!(
            "of {} pairs none is left {what}; is --max-tokens too low?",
            pairs.len()
        );
        return Err(Error::config("pairs", reason));
    }
    Ok(prepared)
}

fn tune(
    policy: &Policy,
    prepared: &Prepared,
    measured: &Prepared,
    options: &Options,
    stop: &Stop,
) -> Result<Report> {
    let progress = Progress::new();
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
        .with_observer(stop.observer(&progress));
    if let Some(steps) = options.steps {
        trainer = trainer.with_steps(steps);
    }
    let report = trainer.run(
        policy,
        &prepared.examples,
        &measured.examples,
        &options.output,
    );
    progress.end();
    report
}
