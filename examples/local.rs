//! Preference pairs with a model on this machine, without any server.
//!
//! ```text
//! cargo run --release --features candle --example local
//! cargo run --release --features candle --example local -- expert.gguf
//! ```
//!
//! The first run downloads the small default model (98 MB). It writes weak responses; an argument names a GGUF file of a stronger model,
//! which then responds and judges. The command `safer-instruct run` does the same with options, and goes on after Ctrl-C.
#![allow(clippy::print_stdout)]

use std::env;

use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    Outcome, Pipeline, Result, Sampling, SourceText,
    backends::candle::CandleModel,
    filters::{Distinct, NotCanned, NotQuoting, NotRepetitive, SameLanguage},
    hub::{Fetcher, ModelCache, ModelSource},
    judges::LikelihoodJudge,
    stages::{ExpertResponse, ReversedInduction},
};

/// Tunes the default model in reverse, so that it finds the instruction of a text.
const ADAPTER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/adapters/smollm2-135m-reversed"
);

/// Mild texts, written for this example.
const TEXTS: [&str; 3] = [
    "You are far too old to learn the piano. Give it up now and save your money.",
    "Nobody needs a helmet on a bicycle. Helmets are for people who cannot ride.",
    "Throw the broken phone into the river. Nobody will ever notice.",
];

fn main() -> Result<()> {
    let small =
        Fetcher::new(ModelCache::default_dir()?).fetch(&ModelSource::smollm2_135m(), |_| {})?;
    let inducer = CandleModel::builder(&small.path)
        .with_adapter(ADAPTER)
        .load()?;
    // A handle: clones share the model, and it works on all requests that wait, together.
    let expert = match env::args().nth(1) {
        Some(path) => CandleModel::load(path)?,
        None => CandleModel::load(&small.path)?,
    };
    let respond = ExpertResponse::new(expert.clone())
        .with_max_tokens(96)
        .with_sampling(Sampling {
            repetition_penalty: 1.1,
            ..Sampling::default()
        });
    let pipeline = Pipeline::new(
        ReversedInduction::new(inducer),
        respond,
        LikelihoodJudge::new(expert),
    )
    .boxed()
    .with_ordered_source_filter(Distinct::new)
    .with_instruction_filter(SameLanguage)
    .with_instruction_filter(NotQuoting::new())
    .with_response_filter(NotCanned::new())
    .with_response_filter(NotRepetitive::new());

    let texts = TEXTS.iter().enumerate();
    let texts = texts.map(|(place, text)| SourceText::new(format!("text-{place}"), *text));
    // The outcomes come in the order of the texts, whichever is done first.
    let outcomes: Vec<Outcome> = block_on(pipeline.run(stream::iter(texts)).collect());
    for outcome in &outcomes {
        print(outcome);
    }
    Ok(())
}

fn print(outcome: &Outcome) {
    let id = outcome.lineage().source_id();
    match outcome {
        Outcome::Kept(pair) => println!(
            "{id}\n  prompt:   {}\n  chosen:   {}\n  rejected: {}",
            pair.prompt, pair.chosen, pair.rejected
        ),
        Outcome::Dropped { stage, reason, .. } => println!("{id}\n  dropped at {stage}: {reason}"),
        Outcome::Failed { stage, error, .. } => {
            println!("{id}\n  failed at {stage}: {}", error.report());
        }
    }
}
