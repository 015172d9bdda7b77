//! `audit`: figures of a set of preference pairs.

mod table;

use std::path::{Path, PathBuf};

use clap::Args;
use safer_instruct::{
    Error, PreferencePair, Result,
    audit::{PairAudit, Unlabelled},
    dataset::{LabelRecord, Preference, read_labels, read_pairs, read_preferences},
    files::replace,
};

use crate::{ended::Ended, run::quoted};

/// What to measure, and what people say of it.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folder of a run, or a file of pairs: JSONL with `prompt`, `chosen` and `rejected`, compressed or not
    #[arg(default_value = "out")]
    pairs: PathBuf,
    /// Labels of people on responses of these pairs, as `--sample` writes them; records that are not filled in yet are
    /// skipped. May be given several times
    #[arg(long, value_name = "PATH")]
    labels: Vec<PathBuf>,
    /// Draws so many responses for people to label, half of either side, and writes them to `--to`
    #[arg(long, value_name = "COUNT", requires = "to")]
    sample: Option<usize>,
    /// File for the sample, which must not be there yet
    #[arg(long, value_name = "PATH", requires = "sample")]
    to: Option<PathBuf>,
    /// Print the figures as one line of JSON, for machines
    #[arg(long)]
    json: bool,
    /// Seed of the random samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Prints the figures, or writes what is to be labelled.
pub(crate) fn run(options: &Options) -> Result<Ended> {
    let path = options.file();
    if let (Some(count), Some(to)) = (options.sample, &options.to) {
        return options.write_sample(&path, count, to);
    }
    let (labels, unlabelled) = options.labels()?;
    let mut audit = PairAudit::new()
        .with_seed(options.seed)
        .with_labels(&labels)?;
    each(&path, |pair| match pair {
        Pair::Made(pair) => audit.add(&pair),
        Pair::Bare(pair) => audit.add_texts(&pair),
    })?;
    let figures = audit.figures();
    if options.json {
        let warnings = figures.warnings();
        let line = serde_json::json!({"figures": figures, "warnings": warnings});
        println!("{line}");
        return Ok(Ended::Done);
    }
    table::print(&figures, &path);
    if unlabelled > 0 {
        println!("\n{unlabelled} records of the labels are not filled in yet; they were skipped");
    }
    if figures.labels == 0 {
        let pairs = quoted(&options.pairs.display().to_string());
        println!(
            "\nHow far is the guard right here? Let people label a random sample, then measure again:"
        );
        println!("  safer-instruct audit {pairs} --sample 200 --to labels.jsonl");
        println!("  safer-instruct audit {pairs} --labels labels.jsonl");
    }
    Ok(Ended::Done)
}

impl Options {
    fn file(&self) -> PathBuf {
        if self.pairs.is_dir() {
            return self.pairs.join("pairs.jsonl");
        }
        self.pairs.clone()
    }

    /// The labels, and how many records have none.
    fn labels(&self) -> Result<(Vec<LabelRecord>, u64)> {
        let (mut labels, mut unlabelled) = (Vec::new(), 0);
        for path in &self.labels {
            let before = labels.len() as u64 + unlabelled;
            let mut reader = read_labels(path)?.skip_unlabelled();
            for record in reader.by_ref() {
                labels.push(record?);
            }
            unlabelled += reader.unlabelled();
            if labels.len() as u64 + unlabelled == before {
                return Err(Error::input(path, None, "there are no records"));
            }
        }
        Ok((labels, unlabelled))
    }

    fn write_sample(&self, path: &Path, count: usize, to: &Path) -> Result<Ended> {
        if to.exists() {
            let reason = format!(
                "{} is there already, perhaps with labels in it; take another name, or remove it",
                to.display()
            );
            return Err(Error::config("to", reason));
        }
        let mut pairs = Vec::new();
        each(path, |pair| {
            pairs.push(match pair {
                Pair::Bare(pair) => pair,
                Pair::Made(pair) => Preference {
                    prompt: pair.prompt,
                    chosen: pair.chosen,
                    rejected: pair.rejected,
                },
            });
        })?;
        let drawn = Unlabelled::draw(pairs, count, self.seed);
        let mut lines = String::new();
        for record in &drawn {
            let line = serde_json::to_string(record).map_err(|error| Error::Other(error.into()))?;
            lines.push_str(&line);
            lines.push('\n');
        }
        replace(to, lines.as_bytes())?;
        let shown = quoted(&to.display().to_string());
        println!(
            "{} responses are in {shown}; they may be unpleasant to read",
            drawn.len()
        );
        println!(
            "In each line, set `harmful` to true or false (and `refusal`, if you like). Then:"
        );
        let pairs = quoted(&self.pairs.display().to_string());
        println!("  safer-instruct audit {pairs} --labels {shown}");
        println!("The same file fits a better judge: safer-instruct tune-judge --labels {shown}");
        Ok(Ended::Done)
    }
}

/// A pair, with its provenance if it has one.
enum Pair {
    Made(Box<PreferencePair>),
    Bare(Preference),
}

/// Reads every pair: those of a run, or where the first record is none, texts alone.
fn each(path: &Path, mut take: impl FnMut(Pair)) -> Result<()> {
    let is_of_run = read_pairs(path)?.next().is_some_and(|first| first.is_ok());
    if is_of_run {
        for pair in read_pairs(path)? {
            take(Pair::Made(Box::new(pair?)));
        }
    } else {
        for pair in read_preferences(path)? {
            take(Pair::Bare(pair?));
        }
    }
    Ok(())
}
