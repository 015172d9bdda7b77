//! `tune`: tunes a small model in reverse, from a response to the instruction that it answers.
//!
//! Without `--pairs` it downloads pairs of free licence (about 20 MB). Beside the model it downloads sentence
//! embeddings (84 MB), which tell how good the instructions are. The result is a folder that `run` takes by
//! `--adapter`.

mod choice;
mod curve;
mod options;
mod table;
mod written;

use std::path::Path;

use choice::{Choice, Places};
pub(crate) use options::Options;
use safer_instruct::{
    Error, Result,
    backends::candle::{CandleModel, Numbers},
    dataset::InstructionPair,
    train::{Lora, Policy, Prepared, Sft, Trainer, TrainingReport},
};
use table::Table;

use crate::{
    ended::Ended,
    measure::MiniLm,
    stop::Stop,
    training::{STOPPING, TrainingProgress, name_left_out, observer, stopped, stopped_after},
};

/// Tunes, and prints what has been learnt.
pub(crate) fn run(options: &Options, stop: &Stop) -> Result<Ended> {
    options
        .existing
        .check(std::slice::from_ref(&options.output))?;
    let progress = TrainingProgress::new();
    let trainer = trainer(options, stop, &progress);
    trainer.check_settings()?;
    let Some(choice) = Choice::of(options, stop)? else {
        return Ok(stopped_after("some of the pairs were written"));
    };
    let Choice {
        train,
        held_out,
        places,
    } = choice;
    let model = options.model.fetch()?;
    let policy = policy(options, &model)?;
    let prepared = prepare(&policy, &train, "to train on", options, &places)?;
    let measured = prepare(&policy, &held_out, "to measure on", options, &places)?;

    stop.end_in_order(STOPPING);
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
    let folder = options.output.display();
    println!("the adapter is in {folder}, its loss as a picture in {folder}/loss.svg");
    if stop.is_asked() {
        return Ok(Ended::Stopped);
    }
    stop.end_at_once();
    show(options, &model, held_out, &report)?;
    println!("\nto make preference pairs with it:");
    println!("  safer-instruct run --adapter {folder} --input your-texts.jsonl");
    Ok(Ended::Done)
}

/// Prints how well the model finds held-out instructions, before and after.
fn show(
    options: &Options,
    model: &Path,
    held_out: Vec<InstructionPair>,
    report: &TrainingReport,
) -> Result<()> {
    if options.measure == 0 || held_out.is_empty() {
        return Ok(());
    }
    let table = Table {
        embedding: MiniLm::fetch(&options.model)?,
        pairs: held_out.into_iter().take(options.measure).collect(),
        show: options.show,
    };
    let before = CandleModel::load(model)?;
    let after = CandleModel::builder(model)
        .with_adapter(&options.output)
        .load()?;
    table.print(&before, &after, report)
}

fn policy(options: &Options, model: &Path) -> Result<Policy> {
    let rank = options.rank;
    let lora = Lora::new().with_rank(rank).with_alpha(2.0 * rank as f64);
    Policy::builder(model)
        .with_lora(lora.with_dropout(options.dropout))
        .with_base_name(options.model.base_name())
        .with_context(options.max_tokens)
        .with_seed(options.seed)
        .load()
}

/// Examples of some pairs; prints how many there are, and names the pairs that give none.
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

fn trainer(options: &Options, stop: &Stop, progress: &TrainingProgress) -> Trainer<Sft> {
    let mut trainer = Trainer::new(Sft)
        .with_learning_rate(options.learning_rate)
        .with_batch(options.batch)
        .with_epochs(options.epochs)
        .with_seed(options.seed)
        .with_existing(options.existing.choice())
        .with_numbers(if options.half {
            Numbers::F16
        } else {
            Numbers::F32
        })
        .with_observer(observer(stop, progress));
    if let Some(steps) = options.steps {
        trainer = trainer.with_steps(steps);
    }
    if let Some(patience) = options.patience {
        trainer = trainer.with_patience(patience);
    }
    trainer
}
