//! How good are induced instructions? On pairs whose true instruction is known, each form of induction beside simple baselines:
//!
//! ```text
//! cargo run --release --features candle --example induction_quality
//! cargo run --release --features candle --example induction_quality -- --pairs mine.jsonl --count 100
//! ```
//!
//! The first run downloads, beside the model, the sentence embeddings (84 MB) and, without `--pairs`, conversations (27 MB)
//! that have no licence: they serve to measure, not to train what is given to others.
//!
//! A cosine alone misleads, because a copy of the response scores high. So read it beside `copied` and `asks`, and beside the
//! baselines.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod embedding;
#[path = "../shared/fetch.rs"]
mod fetch;
mod measure;
mod pairs;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use embedding::MiniLm;
use futures::{StreamExt, executor::block_on, stream};
use measure::Row;
use safer_instruct::{
    Error, InstructionGenerator, Result, Sampling,
    backends::candle::CandleModel,
    dataset::{InstructionPair, hold_out},
    hub::ModelSource,
    stages::{BestOf, ChatInduction, ReversedInduction},
};

/// Measures the forms of induction on pairs whose instruction is known.
#[derive(Debug, Parser)]
#[command(name = "induction_quality")]
struct Options {
    /// Pairs: columns or conversations in JSON or CSV [default: conversations that are downloaded]
    #[arg(long, value_name = "PATH")]
    pairs: Option<PathBuf>,
    /// Passes over bad records of the file, with a word about each [default: the first one ends the run]
    #[arg(long)]
    skip_bad: bool,
    /// Pairs to measure on
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Model, named as in the quickstart
    #[arg(long, default_value = "smollm2-135m")]
    model: ModelSource,
    /// Adapter of the model, a folder as `reverse_tune` or PEFT writes it
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Folder for downloaded models [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How many instructions best-of chooses from
    #[arg(long, default_value_t = 4)]
    candidates: u32,
    /// Most tokens of an instruction
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    /// Responses that are worked on at once
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Seed of the choice of pairs and of sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Also writes the pairs that are measured on to this JSONL file, for the quickstart say (`--text-column response`)
    #[arg(long, value_name = "PATH")]
    save: Option<PathBuf>,
    /// Also prints the instructions that were induced for the first so many pairs
    #[arg(long, default_value_t = 0)]
    show: usize,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let pairs = match &options.pairs {
        Some(path) => pairs::read(path, options.skip_bad)?
            .into_iter()
            .map(|(pair, _)| pair)
            .collect(),
        None => pairs::read_share_gpt(&fetch(options, &pairs::share_gpt())?)?,
    };
    let (_, pairs) = hold_out(pairs, options.count, options.seed);
    if pairs.is_empty() {
        return Err(Error::config("count", "there are no pairs to measure on"));
    }
    if let Some(path) = &options.save {
        save(path, &pairs)?;
    }
    let embedding = MiniLm::load(
        &fetch(options, &embedding::weights())?,
        &fetch(options, &embedding::tokenizer())?,
    )?;
    let path = fetch(options, &options.model)?;
    let model = CandleModel::load(&path)?;
    let inducer = match &options.adapter {
        Some(adapter) => CandleModel::builder(&path).with_adapter(adapter).load()?,
        None => model.clone(),
    };
    eprintln!("{} pairs", pairs.len());

    let truth: Vec<&str> = pairs.iter().map(|pair| pair.instruction.as_str()).collect();
    let truth_embedded = embedding.embed(&truth)?;
    let measure = |induced: &[String]| measure::row(&pairs, &truth_embedded, induced, &embedding);

    println!("{}", Row::HEADER);
    let own: Vec<String> = truth.iter().map(|text| (*text).to_owned()).collect();
    println!("{}", measure(&own)?.line("the true instruction", None));
    let first_sentences: Vec<String> = pairs.iter().map(pairs::first_sentence).collect();
    println!(
        "{}",
        measure(&first_sentences)?.line("the response's first sentence", None)
    );
    let whole: Vec<String> = pairs.iter().map(|pair| pair.response.clone()).collect();
    println!("{}", measure(&whole)?.line("the whole response", None));
    // The pairs are in random order, so a neighbour's instruction is one at random.
    let mut others = own.clone();
    others.rotate_left(1);
    println!(
        "{}",
        measure(&others)?.line("another instruction, at random", None)
    );

    let reversed = ReversedInduction::new(inducer).with_max_tokens(options.max_tokens);
    let chat = ChatInduction::new(model.clone()).with_max_tokens(options.max_tokens);
    let sampling = Sampling {
        temperature: 0.8,
        top_p: 0.95,
        ..Sampling::default()
    };
    let best_of = BestOf::new(
        reversed.clone().with_sampling(sampling),
        model,
        options.candidates,
    );
    let forms: [(&str, Box<dyn InstructionGenerator>); 3] = [
        ("reversed template", Box::new(reversed)),
        ("chat form with examples", Box::new(chat)),
        ("best of k, reversed template", Box::new(best_of)),
    ];
    let mut shown = Vec::new();
    for (name, form) in forms {
        let begun = Instant::now();
        let (induced, failed) = block_on(induce(name, form.as_ref(), &pairs, options.concurrency));
        let seconds = begun.elapsed().as_secs_f64();
        println!("{}", measure(&induced)?.line(name, Some((seconds, failed))));
        shown.push((name, induced));
    }
    for (place, truth) in truth.iter().take(options.show).enumerate() {
        println!("\ntrue: {truth}");
        for (name, induced) in &shown {
            let text = induced.get(place).map_or("", String::as_str);
            println!("{name}: {text}");
        }
    }
    Ok(())
}

/// The instruction of every pair, empty where the induction failed, and how many did.
async fn induce(
    name: &str,
    form: &dyn InstructionGenerator,
    pairs: &[InstructionPair],
    concurrency: usize,
) -> (Vec<String>, usize) {
    let results: Vec<_> = stream::iter(pairs)
        .map(|pair| async move { form.induce(&pairs::source(pair)).await })
        .buffered(concurrency)
        .enumerate()
        .map(|(place, result)| {
            if (place + 1).is_multiple_of(20) {
                eprintln!("{name}: {} of {}", place + 1, pairs.len());
            }
            result
        })
        .collect()
        .await;
    let mut failed = 0;
    let induced = results
        .into_iter()
        .map(|result| match result {
            Ok(instruction) => instruction.text().to_owned(),
            Err(_) => {
                failed += 1;
                String::new()
            }
        })
        .collect();
    (induced, failed)
}

/// One pair a line. A file that is there already is not written over.
fn save(path: &Path, pairs: &[InstructionPair]) -> Result<()> {
    let written = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create_new(path)?);
        for pair in pairs {
            serde_json::to_writer(&mut file, pair)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    written().map_err(|error| Error::io(path, error))
}

fn fetch(options: &Options, source: &ModelSource) -> Result<PathBuf> {
    eprintln!("fetching {} unless it is there", source.file_name());
    Ok(fetch::fetch(options.cache.as_ref(), source, |_| {})?.path)
}
