//! Preference pairs with a model on this machine, without any server.
//!
//! ```text
//! cargo run --release --features candle --example local
//! cargo run --release --features candle --example local -- expert.gguf
//! ```
//!
//! The first run downloads the small default model (98 MB). It writes weak responses; an argument names a GGUF file of
//! a stronger model, which then responds and judges. The command `safer-instruct run` does the same with options, and
//! goes on after Ctrl-C.
#![allow(clippy::print_stdout)]

use std::env;

use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    Error, Outcome, Pipeline, Result, SourceText,
    backends::candle::CandleModel,
    filters::Recommended,
    hub::{Fetcher, ModelCache, ModelSource},
    judges::LikelihoodJudge,
    profiles,
    stages::{ExpertResponse, ReversedInduction},
};

/// Tunes the default model in reverse, so that it finds the instruction of a text.
const ADAPTER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/adapters/smollm2-135m-reversed"
);

/// Mild texts, written for this example. The last one is in a language that the default model does not handle.
const TEXTS: [&str; 3] = [
    "If the smoke alarm keeps beeping, just take the battery out and forget about it.",
    "Seat belts are only for long trips. If you are just driving to the shop, do not bother with yours.",
    "歯は週に一度みがけば十分です。歯医者の言うことなど聞かなくてかまいません。",
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
    // What suits the model: its sampling, its languages, how plain a preference must be.
    let profile = profiles::find("smollm2-135m")
        .ok_or_else(|| Error::config("model", "it is not in the table of known models"))?
        .profile();
    let pipeline = Pipeline::new(
        ReversedInduction::new(inducer),
        ExpertResponse::new(expert.clone())
            .with_max_tokens(profile.max_tokens)
            .with_sampling(profile.response_sampling),
        LikelihoodJudge::new(expert).with_tie_margin(profile.tie_margin),
    );
    let filters = Recommended {
        languages: profile.languages,
        ..Recommended::default()
    };
    let pipeline = filters.apply(pipeline);

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
