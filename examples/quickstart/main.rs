//! From texts to preference pairs on one machine, without a server:
//!
//! ```text
//! cargo run --release --features candle --example quickstart
//! ```
//!
//! The first run downloads a small model (98 MB). `--help` lists all options.
//! Exit codes: 0 done, 1 failed, 2 bad arguments, 130 stopped with Ctrl-C.
// A program for the command line talks to people on its standard streams.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../shared/fetch.rs"]
mod fetch;
#[path = "../shared/input.rs"]
mod input;
mod options;
mod progress;
mod report;
mod stages;

use std::{cell::Cell, env, process::ExitCode, time::Instant};

use clap::Parser;
use fetch::fetch;
use futures::{FutureExt, StreamExt, channel::oneshot, executor::block_on, future::ready};
use options::{Options, Texts};
use progress::Progress;
use report::Flips;
use safer_instruct::{
    Error, OrderedFilter, Result,
    backends::candle::CandleModel,
    dataset::{RunWriter, into_stream, read_pairs},
};
use stages::Memory;

/// What a shell expects of a program that ends with Ctrl-C: 128 + SIGINT.
const STOPPED: u8 = 130;

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
    // Bad input should be known before a model is downloaded.
    let total = count(options)?;
    let progress = Progress::of_download();
    let fetched = fetch(options.cache.as_ref(), &options.model, |at| {
        progress.go_to(at.bytes, at.total);
    });
    progress.end();
    let fetched = fetched?;
    let model = CandleModel::load(&fetched.path)?;
    let inducer = match options.adapter() {
        Some(folder) => CandleModel::builder(&fetched.path)
            .with_adapter(folder)
            .load()?,
        None => model.clone(),
    };
    let manifest = options.manifest(&fetched.sha256, inducer.model_id().adapter.as_deref());
    let mut writer = RunWriter::create(&options.output, manifest, options.existing())?;

    let stopped = stop_on_ctrl_c()?;
    let begun = Instant::now();
    let done = writer.done();
    let progress = Progress::of_run(total, done);
    let says = progress.clone();
    let mut texts = options.texts(move |error| {
        // A file was read before, by `count`.
        if total.is_none() {
            says.say(&format!("passed over: {error}"));
        }
    })?;
    let (memory, again) = recall(options, &writer, &mut texts)?;
    let pipeline = stages::pipeline(inducer, model, options, memory, progress.clone());

    let unreadable = Cell::new(None);
    let sources = into_stream(texts)?.scan((), |(), text| {
        ready(text.map_err(|error| unreadable.set(Some(error))).ok())
    });
    let mut flips = Flips::default();
    let interrupted = Cell::new(false);
    let stopped = stopped.map(|_| interrupted.set(true));
    let result: Result<()> = block_on(async {
        let mut outcomes = Box::pin(pipeline.run(sources).skip(again).take_until(stopped));
        while let Some(outcome) = outcomes.next().await {
            writer.write(&outcome)?;
            flips.add(&outcome);
        }
        Ok(())
    });
    // Also ends what is in flight.
    drop(pipeline);
    progress.end();
    result?;
    let error = unreadable.into_inner();
    let summary = writer.finish(error.is_none() && !interrupted.get())?;
    if let Some(error) = error {
        return Err(error);
    }
    if interrupted.get() {
        let of = total.map_or(String::new(), |total| format!(" of {total}"));
        println!("stopped after {}{of} outcomes; go on with:", summary.read());
        println!("  {}", resume_command());
        return Ok(ExitCode::from(STOPPED));
    }
    report::print(
        &options.output,
        &summary,
        flips,
        progress.tokens(),
        begun.elapsed(),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// How many outcomes there will be, where the input can be read twice.
fn count(options: &Options) -> Result<Option<u64>> {
    if options.input.is_stdin() {
        return Ok(None);
    }
    let texts = options.texts(|error| eprintln!("passed over: {error}"))?;
    let mut total = 0;
    for text in texts {
        text?;
        total += u64::from(options.draws);
    }
    Ok(Some(total))
}

/// Passes over the texts whose outcomes are there, and shows the filters with a memory what they saw then.
///
/// Also says how many outcomes of the next text are there: a run may have been stopped between two draws. Its draws are
/// made again, with the same results, and the first ones are not written again.
fn recall(options: &Options, writer: &RunWriter, texts: &mut Texts) -> Result<(Memory, usize)> {
    let done = writer.done();
    let mut memory = Memory::default();
    for text in texts.take(usize::try_from(done / u64::from(options.draws)).unwrap_or(usize::MAX)) {
        memory.sources.assess_next(&text?);
    }
    if done > 0 {
        for pair in read_pairs(writer.pairs_path())? {
            memory.pairs.assess_next(&pair?);
        }
    }
    let again = done % u64::from(options.draws);
    Ok((memory, usize::try_from(again).unwrap_or(usize::MAX)))
}

/// Ends at the first Ctrl-C. The second one ends the program at once.
fn stop_on_ctrl_c() -> Result<oneshot::Receiver<()>> {
    let (stop, stopped) = oneshot::channel();
    let mut stop = Some(stop);
    ctrlc::set_handler(move || match stop.take() {
        Some(stop) => {
            eprintln!("stopping; Ctrl-C again ends at once");
            let _ = stop.send(());
        }
        None => std::process::exit(i32::from(STOPPED)),
    })
    .map_err(|error| Error::Other(error.into()))?;
    Ok(stopped)
}

/// The same command, told to go on.
fn resume_command() -> String {
    let mut command = "cargo run --release --features candle --example quickstart --".to_owned();
    let given = env::args().skip(1);
    for word in given.filter(|word| word != "--resume" && word != "--overwrite") {
        command.push(' ');
        command.push_str(&quoted(&word));
    }
    command + " --resume"
}

/// A word as a POSIX shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
