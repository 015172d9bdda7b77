//! Tunes a small model in reverse: it reads a response and learns to write the instruction that the response answers.
//!
//! ```text
//! cargo run --release --features train --example tune -- pairs.jsonl adapter
//! ```
//!
//! The first argument is a file of pairs, with the columns `instruction` and `response`; the second one is the folder
//! of the adapter. The first run downloads the model (98 MB). A stopped run goes on if it is started again. The command
//! `safer-instruct tune` does the same with options, and measures what the model has learnt.
#![allow(clippy::print_stdout)]

use std::{env, ops::ControlFlow, path::Path};

use safer_instruct::{
    Error, InstructionGenerator, Result, SourceText,
    backends::candle::CandleModel,
    dataset::{Existing, InstructionPair, InstructionReader, hold_out},
    hub::{Fetcher, ModelCache, ModelSource},
    stages::ReversedInduction,
    train::{Lora, Policy, Prepared, Sft, Trainer, TrainingEvent},
};

/// Most tokens of a pair; longer responses are cut at their end.
const MAX_TOKENS: usize = 320;
/// Decides which pairs are held out, the order of training and the first values of the adapter.
const SEED: u64 = 0;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(pairs), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err(Error::config(
            "arguments",
            "give a file of pairs and a folder",
        ));
    };
    let folder = Path::new(&folder);
    let pairs: Vec<_> = InstructionReader::open(pairs)?.collect::<Result<_>>()?;
    // One pair in ten is only measured on.
    let count = pairs.len() / 10;
    let (train, held_out) = hold_out(pairs, count, SEED);

    let model =
        Fetcher::new(ModelCache::default_dir()?).fetch(&ModelSource::smollm2_135m(), |_| {})?;
    let policy = Policy::builder(&model.path)
        .with_lora(Lora::new().with_rank(16).with_alpha(32.0))
        .with_seed(SEED)
        .load()?;
    let (train, measured) = (prepare(&policy, &train)?, prepare(&policy, &held_out)?);
    println!(
        "{} pairs to train on, {} held out",
        train.examples.len(),
        measured.examples.len()
    );
    let report = Trainer::new(Sft)
        .with_seed(SEED)
        .with_patience(3)
        .with_existing(Existing::Resume)
        .with_observer(|event| {
            show(event);
            // `ControlFlow::Break` would write a checkpoint and end the run.
            ControlFlow::Continue(())
        })
        .run(&policy, &train.examples, &measured.examples, folder)?;
    println!(
        "held-out loss {:?} before, {:?} after {} steps",
        report.held_out_before, report.held_out_best, report.best_step
    );
    drop(policy);

    let tuned = CandleModel::builder(&model.path)
        .with_adapter(folder)
        .load()?;
    let stage = ReversedInduction::new(tuned);
    for pair in held_out.iter().take(3) {
        let text = SourceText::new(pair.instruction.as_str(), pair.response.as_str());
        let induced = futures::executor::block_on(stage.induce(&text))?;
        println!(
            "\nasked:   {}\ninduced: {}",
            pair.instruction,
            induced.text()
        );
    }
    Ok(())
}

fn prepare(policy: &Policy, pairs: &[InstructionPair]) -> Result<Prepared> {
    let texts = pairs.iter().map(|pair| (&pair.instruction, &pair.response));
    policy.reversed(texts, MAX_TOKENS)
}

fn show(event: &TrainingEvent) {
    match event {
        TrainingEvent::Step(step) if step.step.is_multiple_of(10) => {
            println!(
                "step {} of {}: loss {:.3}",
                step.step, step.steps, step.loss
            );
        }
        TrainingEvent::Evaluation(evaluation) => println!(
            "step {}: held-out loss {:.3}",
            evaluation.step, evaluation.held_out_loss
        ),
        _ => {}
    }
}
