//! Tunes a small model on preference pairs: supervised on the chosen responses, then by direct preference optimization, as the paper does.
//!
//! ```text
//! cargo run --release --features train --example preference_tune -- --pairs out/pairs.jsonl
//! ```
//!
//! Without `--pairs` it shows on a preference that can be counted what happens: short answers are chosen, long ones rejected.
//! Exit codes: 0 done, 1 failed, 2 bad arguments, 130 stopped with Ctrl-C.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../shared/fetch.rs"]
mod fetch;
#[path = "../reverse_tune/free_pairs/mod.rs"]
mod free_pairs;
mod options;
#[path = "../reverse_tune/process.rs"]
mod process;
#[path = "../reverse_tune/progress.rs"]
mod progress;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use futures::{StreamExt, TryStreamExt, executor::block_on, stream};
use options::Options;
use process::{Stop, fetch, stopped};
use progress::Progress;
use safer_instruct::{
    ChatModel, ChatRequest, Error, Message, Result,
    backends::candle::CandleModel,
    dataset::{InstructionPair, hold_out, read_pairs},
    train::{Dpo, Lora, Objective, Policy, Prepared, Report, Sft, Trainer, remove_run},
};

/// Most tokens of an answer that is counted.
const ANSWER: usize = 200;

/// A prompt, its chosen and its rejected response.
type Pair = [String; 3];

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
    let (train, held_out) = pairs(options)?;
    let model = fetch(options.cache.as_ref(), &options.model)?;
    let stop = Stop::on_ctrl_c()?;
    let [sft, dpo] = ["sft", "dpo"].map(|name| options.output.join(name));

    let mut policy = policy(options, &model, None)?;
    let preferences = |policy: &Policy, pairs: &[Pair]| {
        let texts = pairs
            .iter()
            .map(|[prompt, chosen, rejected]| (prompt, chosen, rejected));
        policy.preferences(texts, options.max_tokens)
    };
    if options.overwrite {
        // Both before the first begins: if it is stopped, --resume must not meet the other of before.
        remove_run(&sft)?;
        remove_run(&dpo)?;
    }
    if options.sft_epochs > 0 {
        eprintln!("on the chosen responses:");
        let responses = |pairs: &[Pair]| {
            let texts = pairs.iter().map(|[prompt, chosen, _]| (prompt, chosen));
            policy.responses(texts, options.max_tokens)
        };
        let (epochs, rate) = (options.sft_epochs, options.sft_learning_rate);
        let examples = [responses(&train)?, responses(&held_out)?];
        let report = tune(
            Sft,
            &policy,
            &examples,
            &sft,
            (options, epochs, rate),
            &stop,
        )?;
        if report.stopped {
            return Ok(stopped(&report));
        }
        policy = self::policy(options, &model, Some(&sft))?;
    }
    eprintln!("on the preferences:");
    let examples = [
        preferences(&policy, &train)?,
        preferences(&policy, &held_out)?,
    ];
    let objective = Dpo::new()
        .with_beta(options.beta)?
        .with_label_smoothing(options.label_smoothing)?;
    let (epochs, rate) = (options.epochs, options.learning_rate);
    let report = tune(
        objective,
        &policy,
        &examples,
        &dpo,
        (options, epochs, rate),
        &stop,
    )?;
    if report.stopped {
        return Ok(stopped(&report));
    }
    drop(policy);

    let prompts: Vec<&str> = held_out
        .iter()
        .take(options.measure)
        .map(|pair| pair[0].as_str())
        .collect();
    if !prompts.is_empty() {
        println!(
            "\n| answers to {} held-out prompts | mean tokens | that end by themselves |\n|---|---|---|",
            prompts.len()
        );
        measure("the model before", &model, None, &prompts)?;
        if options.sft_epochs > 0 {
            measure(
                "tuned on the chosen responses",
                &model,
                Some(&sft),
                &prompts,
            )?;
        }
        measure("tuned on the preferences", &model, Some(&dpo), &prompts)?;
    }
    println!("\nthe adapter is in {}", dpo.display());
    Ok(ExitCode::SUCCESS)
}

fn policy(options: &Options, model: &Path, adapter: Option<&Path>) -> Result<Policy> {
    let rank = options.rank;
    let mut builder = Policy::builder(model)
        .with_lora(Lora::new().with_rank(rank).with_alpha(2.0 * rank as f64))
        .with_base_name(options.model.to_string())
        .with_context(options.max_tokens)
        .with_seed(options.seed);
    if let Some(adapter) = adapter {
        builder = builder.with_adapter(adapter);
    }
    builder.load()
}

fn tune<O: Objective>(
    objective: O,
    policy: &Policy,
    [train, held_out]: &[Prepared; 2],
    folder: &Path,
    (options, epochs, learning_rate): (&Options, usize, f64),
    stop: &Stop,
) -> Result<Report> {
    let skipped = train.skipped.len() + held_out.skipped.len();
    let count = train.examples.len();
    eprintln!(
        "{count} examples, {skipped} left out because they are empty, too long, or prefer nothing"
    );
    if count == 0 {
        return Err(Error::config(
            "pairs",
            "none is left to train on; is --max-tokens too low?",
        ));
    }
    let progress = Progress::new();
    let report = Trainer::new(objective)
        .with_learning_rate(learning_rate)
        .with_batch(options.batch)
        .with_epochs(epochs)
        .with_warm_up(5)
        .with_seed(options.seed)
        .with_existing(options.existing())
        .with_observer(stop.observer(&progress))
        .run(policy, &train.examples, &held_out.examples, folder);
    progress.end();
    report
}

/// Answers the prompts and prints how long the answers are.
fn measure(name: &str, model: &Path, adapter: Option<&PathBuf>, prompts: &[&str]) -> Result<()> {
    let mut builder = CandleModel::builder(model);
    if let Some(adapter) = adapter {
        builder = builder.with_adapter(adapter);
    }
    let model = builder.load()?;
    let answers = stream::iter(prompts).map(|prompt| {
        let message = Message::user((*prompt).to_owned());
        let request = ChatRequest::new(vec![message]).with_max_tokens(ANSWER);
        let model = &model;
        async move { model.complete(&request).await }
    });
    let answers: Vec<_> = block_on(answers.buffered(16).try_collect())?;
    let count = answers.len() as f64;
    let tokens: u64 = answers
        .iter()
        .map(|answer| answer.usage.completion_tokens)
        .sum();
    let ended = answers
        .iter()
        .filter(|answer| answer.usage.completion_tokens < ANSWER as u64)
        .count();
    println!(
        "| {name} | {:.1} | {:.0} % |",
        tokens as f64 / count,
        100.0 * ended as f64 / count
    );
    Ok(())
}

/// Pairs to train on, and others to measure on.
fn pairs(options: &Options) -> Result<(Vec<Pair>, Vec<Pair>)> {
    let mut pairs: Vec<Pair> = match &options.pairs {
        Some(path) => read_pairs(path)?
            .map(|pair| pair.map(|pair| [pair.prompt, pair.chosen, pair.rejected]))
            .collect::<Result<_>>()?,
        None => {
            let all =
                free_pairs::pairs(|source| fetch(options.cache.as_ref(), source), options.seed)?;
            let (_, all) = hold_out(all, usize::MAX, options.seed);
            all.iter().filter_map(short_and_long).collect()
        }
    };
    if pairs.len() <= options.held_out {
        let reason = format!(
            "there are {} pairs, and --held-out takes {}",
            pairs.len(),
            options.held_out
        );
        return Err(Error::config("pairs", reason));
    }
    let mut train = pairs.split_off(options.held_out);
    train.truncate(options.limit);
    Ok((train, pairs))
}

/// The first sentence of a response, and all of it, if that is much longer.
fn short_and_long(pair: &InstructionPair) -> Option<Pair> {
    let end = pair.response.find(". ")? + 1;
    let (short, _) = pair.response.split_at(end);
    let fits = short.len() > 20 && pair.response.len() > 3 * short.len();
    fits.then(|| {
        [
            pair.instruction.clone(),
            short.to_owned(),
            pair.response.clone(),
        ]
    })
}
