//! `safer-instruct`: preference pairs of texts that should not be said, on the command line.
//!
//! Exit codes: 0 done, 1 failed, 2 bad arguments, 3 over budget, 130 stopped with Ctrl-C or SIGTERM.
// A program for the command line talks to people on its standard streams.
#![allow(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod audit;
mod command;
mod completions;
mod ended;
mod export;
mod fetch;
mod init;
mod measure;
mod merge;
mod models;
mod prefer;
mod progress;
mod run;
mod settings;
mod status;
mod stop;
mod training;
mod tune;
mod tune_judge;

use std::process::ExitCode;

use clap::Parser;
use command::{Command, Program};
use ended::Ended;
use safer_instruct::Result;
use stop::Stop;

fn main() -> ExitCode {
    match run(Program::parse()) {
        Ok(ended) => ended.code(),
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> Result<Ended> {
    let stop = Stop::on_signal()?;
    match program.command {
        Command::Run(options) => options.start(&stop),
        Command::Resume(options) => options.resume(&stop),
        Command::Retry(options) => options.retry(&stop),
        Command::Status(options) => options.print(),
        Command::Export(options) => options.write(),
        Command::Audit(options) => audit::run(&options),
        Command::Tune(options) => tune::run(&options, &stop),
        Command::TuneJudge(options) => tune_judge::run(&options, &stop),
        Command::Prefer(options) => prefer::run(&options, &stop),
        Command::Merge(options) => merge::run(&options),
        Command::Measure(options) => measure::run(&options),
        Command::Init(options) => options.write(),
        Command::Models(options) => options.print(),
        Command::Completions(options) => options.print(),
    }
}
