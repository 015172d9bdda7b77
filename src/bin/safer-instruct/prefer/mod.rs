//! `prefer`: tunes a small model on preference pairs, first on the chosen responses, then by direct preference
//! optimization, as the paper does.
//!
//! Without `--pairs` it shows the method on a preference that can be counted: short answers are chosen, long ones
//! rejected.

mod answers;
mod options;
mod pairs;

use std::path::Path;

pub(crate) use options::Options;
use pairs::{Choice, Pair};
use safer_instruct::{
    Result,
    backends::candle::Numbers,
    train::{Dpo, Lora, Objective, Policy, Prepared, Sft, Trainer, TrainingReport, remove_run},
};

use crate::{
    ended::Ended,
    stop::Stop,
    training::{STOPPING, TrainingProgress, observer, stopped},
};

/// Tunes, and prints how long the answers are before and after.
pub(crate) fn run(options: &Options, stop: &Stop) -> Result<Ended> {
    let [sft, dpo] = ["sft", "dpo"].map(|name| options.output.join(name));
    options.existing.check(&[sft.clone(), dpo.clone()])?;
    let objective = Dpo::new()
        .with_beta(options.beta)?
        .with_label_smoothing(options.label_smoothing)?;
    let choice = Choice::of(options)?;
    let model = options.model.fetch()?;

    // Checks everything before anything is removed or trained.
    let progress = TrainingProgress::new();
    let first = trainer(Sft, options.sft_learning_rate, options, stop, &progress)
        .with_epochs(options.sft_epochs.max(1));
    let second = trainer(objective, options.learning_rate, options, stop, &progress)
        .with_epochs(options.epochs);
    let begin = policy(options, &model, None)?;
    let responses = (options.sft_epochs > 0)
        .then(|| prepare_responses(&choice, &begin, options.max_tokens))
        .transpose()?;
    let preferences = prepare_preferences(&choice, &begin, options.max_tokens)?;
    if let Some([train, held_out]) = &responses {
        first.check(&begin, &train.examples, &held_out.examples)?;
    }
    let [train, held_out] = &preferences;
    second.check(&begin, &train.examples, &held_out.examples)?;
    if options.existing.overwrite {
        // Removes both before the first part begins: after a stop, --resume must not find the second part of an earlier
        // run. The second is removed first: it continues from the first, and another process may be training in it.
        remove_run(&dpo)?;
        remove_run(&sft)?;
    }

    stop.end_in_order(STOPPING);
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
    println!("the adapter is in {}", dpo.display());
    if stop.is_asked() {
        return Ok(Ended::Stopped);
    }
    stop.end_at_once();

    let tuned = [
        ("tuned on the chosen responses", responses.map(|_| &sft)),
        ("tuned on the preferences", Some(&dpo)),
    ];
    let tuned = tuned.into_iter().filter(|(_, folder)| folder.is_some());
    let rows = std::iter::once(("the model before", None)).chain(tuned);
    let prompts = choice.held_out.iter().take(options.measure);
    let prompts: Vec<&str> = prompts.map(|pair| pair.texts.prompt.as_str()).collect();
    if !prompts.is_empty() {
        println!("\n{}", answers::header(prompts.len()));
        for (name, adapter) in rows {
            println!("{}", answers::row(name, &model, adapter, &prompts)?);
        }
    }
    Ok(Ended::Done)
}

/// Examples of the chosen responses, to train on and to measure on.
fn prepare_responses(choice: &Choice, policy: &Policy, max_tokens: usize) -> Result<[Prepared; 2]> {
    choice.prepare("by their chosen responses", |pairs| {
        let texts = pairs
            .iter()
            .map(|Pair { texts, .. }| (&texts.prompt, &texts.chosen));
        policy.responses(texts, max_tokens)
    })
}

/// Examples of the preferences, to train on and to measure on.
fn prepare_preferences(
    choice: &Choice,
    policy: &Policy,
    max_tokens: usize,
) -> Result<[Prepared; 2]> {
    choice.prepare("by their preferences", |pairs| {
        let texts = pairs
            .iter()
            .map(|Pair { texts, .. }| (&texts.prompt, &texts.chosen, &texts.rejected));
        policy.preferences(texts, max_tokens)
    })
}

fn policy(options: &Options, model: &Path, adapter: Option<&Path>) -> Result<Policy> {
    let rank = options.rank;
    let mut builder = Policy::builder(model)
        .with_lora(Lora::new().with_rank(rank).with_alpha(2.0 * rank as f64))
        .with_base_name(options.model.base_name())
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
    progress: &TrainingProgress,
) -> Trainer<O> {
    Trainer::new(objective)
        .with_learning_rate(learning_rate)
        .with_batch(options.batch)
        .with_seed(options.seed)
        .with_existing(options.existing.choice())
        .with_numbers(if options.half {
            Numbers::F16
        } else {
            Numbers::F32
        })
        .with_observer(observer(stop, progress))
}

fn tune<O: Objective>(
    trainer: &Trainer<O>,
    policy: &Policy,
    [train, held_out]: &[Prepared; 2],
    folder: &Path,
    progress: &TrainingProgress,
) -> Result<TrainingReport> {
    progress.begin();
    let report = trainer.run(policy, &train.examples, &held_out.examples, folder);
    progress.end();
    report
}
