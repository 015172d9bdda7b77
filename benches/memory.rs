//! Peak memory of a run over many generated texts: it must not grow with their number. Linux only.
//!
//! `cargo bench --bench memory -- 10000000`
#![allow(clippy::print_stdout)]

use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    Instruction, Judgement, Pipeline, Response, SourceText, induce_fn, judge_fn, respond_fn,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let texts = arguments.find(|argument| !argument.starts_with('-'));
    let texts: u64 = texts.map_or(Ok(100_000), |n| n.parse())?;
    let pipeline = Pipeline::new(
        induce_fn(|_| async { Ok(Instruction::new("What do you say to a beginner?")) }),
        respond_fn(|_| async { Ok(Response::new("Keep at it.")) }),
        judge_fn(|_, first: Response, _| async move {
            Ok(if first.text().starts_with("Keep") {
                Judgement::first()
            } else {
                Judgement::second()
            })
        }),
    );
    let sources = stream::iter(
        (0..texts).map(|n| SourceText::new(n.to_string(), "You will never learn it.")),
    );
    let kept = block_on(
        pipeline
            .run(sources)
            .fold(0_u64, |kept, outcome| async move {
                kept + u64::from(outcome.pair().is_some())
            }),
    );
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!(
        "{kept} pairs of {texts} texts; {}",
        peak.unwrap_or("no VmHWM")
    );
    Ok(())
}
