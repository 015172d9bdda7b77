//! `measure`: how good induced instructions are. On pairs whose true instruction is known, each form of induction
//! beside simple baselines.
//!
//! Beside the model it downloads sentence embeddings (84 MB) and, without `--pairs`, conversations (27 MB) that have no
//! licence: they serve to measure, not to train what is published.
//!
//! A cosine alone misleads, because a copy of the response scores high. So it stands beside `copied` and `asks`, and
//! beside the baselines.

mod embedding;
mod options;
mod pairs;
mod row;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

pub(crate) use embedding::MiniLm;
use futures::{StreamExt, executor::block_on, stream};
pub(crate) use options::Options;
pub(crate) use pairs::{first_sentence, read_pairs, read_share_gpt, share_gpt};
pub(crate) use row::Row;
use safer_instruct::{
    Error, Instruction, InstructionGenerator, Result, Sampling,
    backends::candle::CandleModel,
    dataset::{InstructionPair, hold_out},
    stages::{BestOf, ChatInduction, ReversedInduction},
};

use crate::ended::Ended;

/// A line of progress is printed after so many inductions.
const EVERY: usize = 20;

/// Measures, and prints a table.
pub(crate) fn run(options: &Options) -> Result<Ended> {
    let pairs = match &options.pairs {
        Some(path) => read_pairs(path, options.skip_bad)?
            .into_iter()
            .map(|(pair, _)| pair)
            .collect(),
        None => read_share_gpt(&options.model.fetch_file(&share_gpt())?)?,
    };
    let (_, pairs) = hold_out(pairs, options.count, options.seed);
    if pairs.is_empty() {
        return Err(Error::config("count", "there are no pairs to measure on"));
    }
    if let Some(path) = &options.save {
        save(path, &pairs)?;
    }
    let embedding = MiniLm::fetch(&options.model)?;
    let forms = forms(options)?;
    eprintln!("{} pairs", pairs.len());

    let truth: Vec<String> = pairs.iter().map(|pair| pair.instruction.clone()).collect();
    let truth_embedded = embedding.embed(&truth)?;
    let row = |induced: &[String]| Row::measure(&pairs, &truth_embedded, induced, &embedding);

    println!("{}", Row::HEADER);
    for (name, induced) in baselines(&pairs) {
        println!("{}", row(&induced)?.line(name, None));
    }
    let mut shown = Vec::new();
    for (name, form) in forms {
        let begun = Instant::now();
        let done = |done: usize| {
            if done.is_multiple_of(EVERY) {
                eprintln!("{name}: {done} of {}", pairs.len());
            }
        };
        let induced = induce(form.as_ref(), &pairs, options.concurrency, done);
        let (induced, failed) = block_on(induced);
        let seconds = begun.elapsed().as_secs_f64();
        println!("{}", row(&induced)?.line(name, Some((seconds, failed))));
        shown.push((name, induced));
    }
    println!("\n{}", Row::LEGEND);
    for (place, truth) in truth.iter().take(options.show).enumerate() {
        println!("\ntrue: {truth}");
        for (name, induced) in &shown {
            let text = induced.get(place).map_or("", String::as_str);
            println!("{name}: {text}");
        }
    }
    Ok(Ended::Done)
}

/// The forms of induction that are measured, with their names.
fn forms(options: &Options) -> Result<[(&'static str, Box<dyn InstructionGenerator>); 3]> {
    let path = options.model.fetch()?;
    let model = CandleModel::load(&path)?;
    let inducer = match &options.adapter {
        Some(adapter) => CandleModel::builder(&path).with_adapter(adapter).load()?,
        None => model.clone(),
    };
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
    Ok([
        ("reversed template", Box::new(reversed)),
        ("chat form with examples", Box::new(chat)),
        ("best of k, reversed template", Box::new(best_of)),
    ])
}

/// Baselines: texts that take the place of an induced instruction, without any model.
fn baselines(pairs: &[InstructionPair]) -> [(&'static str, Vec<String>); 4] {
    let own: Vec<String> = pairs.iter().map(|pair| pair.instruction.clone()).collect();
    // The pairs are in random order, so the instruction of the next pair is one at random.
    let mut others = own.clone();
    others.rotate_left(1);
    [
        ("the true instruction", own),
        (
            "the response's first sentence",
            pairs.iter().map(first_sentence).collect(),
        ),
        (
            "the whole response",
            pairs.iter().map(|pair| pair.response.clone()).collect(),
        ),
        ("another instruction, at random", others),
    ]
}

/// The instruction of every pair, empty where the induction failed, and how many failed. `done` gets the number of
/// finished ones.
pub(crate) async fn induce(
    form: &dyn InstructionGenerator,
    pairs: &[InstructionPair],
    concurrency: usize,
    done: impl Fn(usize),
) -> (Vec<String>, usize) {
    let results: Vec<_> = stream::iter(pairs)
        .map(|pair| async move { form.induce(&pairs::source(pair)).await })
        .buffered(concurrency)
        .enumerate()
        .map(|(place, result)| {
            done(place + 1);
            result
        })
        .collect()
        .await;
    let failed = results.iter().filter(|result| result.is_err()).count();
    let text = |result: Result<Instruction>| {
        result.map_or(String::new(), |instruction| instruction.text().to_owned())
    };
    (results.into_iter().map(text).collect(), failed)
}

/// Writes one pair a line. An existing file is not replaced.
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
