//! `tune-judge`: fits a judge of a local model's hidden states on human labels.

mod options;
mod table;

use std::collections::BTreeSet;

use futures::executor::block_on;
pub(crate) use options::Options;
use safer_instruct::{
    Error, Result,
    backends::candle::CandleModel,
    dataset::{LabelRecord, read_labels},
    train::probe::{FittedProbe, HeadReport, ProbeTrainer, StateTable},
};

use crate::{ended::Ended, progress::Progress, stop::Stop};

/// Fits, and prints how good the judge is.
pub(crate) fn run(options: &Options, stop: &Stop) -> Result<Ended> {
    let records = read(options)?;
    eprintln!("{} records", records.len());
    let mut trainer = ProbeTrainer::new()
        .with_seed(options.seed)
        .with_measured_sources(options.measure_on.iter().cloned())
        .with_not_for(
            "Deciding about people: it reads texts, makes mistakes, and says how often in `measures`.",
        );
    for given in &options.licence {
        let Some((source, licence)) = given.split_once('=') else {
            let reason = format!("{given} is not SOURCE=LICENCE");
            return Err(Error::config("licence", reason));
        };
        for name in named(&records, source) {
            trainer = trainer.with_licence(name, licence);
        }
    }
    let fetched = options.model.fetch_hashed()?;
    let model = CandleModel::builder(&fetched.path)
        .with_hash(format!("sha256:{}", fetched.sha256))
        .load()?;
    let layers = match &options.layers {
        Some(layers) => layers.clone(),
        None => middle(model.layers()),
    };
    let folder = options.output.join("states");
    let mut states = StateTable::open(folder, model.model_id(), layers, options.max_tokens)?;
    let progress = Progress::of("responses read");
    stop.end_in_order("stopping after this file of states; Ctrl-C again ends at once");
    let whole = block_on(states.read(&model, &records, |done, all| {
        progress.go_to(done as u64, Some(all as u64), "");
        !stop.is_asked()
    }))?;
    progress.end();
    if !whole {
        println!("stopped; the same command goes on");
        return Ok(Ended::Stopped);
    }
    stop.end_at_once();
    let fitted = trainer.fit(&records, &states)?;
    for report in &fitted.heads {
        table::print(report);
    }
    for (head, reason) in &fitted.left_out {
        println!("\n{head}: not fitted: {reason}");
    }
    println!();
    keep(options, &fitted)
}

/// The sources that a pattern names: one, or with a star at its end all that begin so.
fn named<'a>(records: &'a [LabelRecord], pattern: &'a str) -> BTreeSet<&'a str> {
    let sources = records.iter().filter_map(|record| record.source.as_deref());
    match pattern.strip_suffix('*') {
        Some(begin) => sources.filter(|name| name.starts_with(begin)).collect(),
        None => BTreeSet::from([pattern]),
    }
}

/// Writes the judge, if it is better than its baselines.
fn keep(options: &Options, fitted: &FittedProbe) -> Result<Ended> {
    let below: Vec<&HeadReport> = fitted
        .heads
        .iter()
        .filter(|report| !report.decisive().beats_baselines())
        .collect();
    for report in &below {
        let (name, value) = report.decisive().best_baseline();
        println!(
            "{} is no better than the baseline \"{name}\": {:.3} and {value:.3}",
            report.head,
            report.decisive().probe.value
        );
    }
    if !below.is_empty() && !options.force {
        let heads: Vec<&str> = below.iter().map(|report| report.head.as_str()).collect();
        let reason = format!(
            "the judge is not kept, because a baseline does as well ({}); give labels of more kinds, another model, or \
             --force",
            heads.join(", ")
        );
        return Err(Error::config("labels", reason));
    }
    fitted.weights.write(&options.output)?;
    let folder = options.output.display();
    println!("the judge is in {folder}; to use it:");
    println!("  safer-instruct run --judge-probe {folder} --input your-texts.jsonl");
    Ok(Ended::Done)
}

fn read(options: &Options) -> Result<Vec<LabelRecord>> {
    let mut records = Vec::new();
    for path in &options.labels {
        let before = records.len();
        for record in read_labels(path)? {
            match record {
                Ok(record) => records.push(record),
                Err(error) if options.skip_bad => eprintln!("skipped: {error}"),
                Err(error) => return Err(error),
            }
        }
        if records.len() == before {
            return Err(Error::input(path, None, "there are no records"));
        }
    }
    Ok(records)
}

/// Four layers between the middle of a model and its last fifth, where what a text means is easiest to read off.
fn middle(layers: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = [50, 60, 70, 80]
        .iter()
        .map(|share| (layers * share).div_ceil(100).max(1))
        .collect();
    chosen.dedup();
    chosen
}
