//! What a long run costs beside its models: the journal at a steady rate, memory, and the time until a resumed run
//! starts work.
//!
//! ```text
//! cargo bench --features run --bench long_run -- [texts=1000000] [per_second=20000] [seconds=10]
//! ```
//!
//! Stages cost nothing, and all is on a temporary disk. The resumed run reads its texts from a JSONL file, as users do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    collections::HashMap,
    env, fs,
    io::{BufWriter, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, executor::block_on, stream};
use safer_instruct::{
    Instruction, InstructionGenerator, Judgement, Pipeline, PreferenceJudge, Response,
    ResponseGenerator, SourceText,
    dataset::{Columns, Reader, into_stream},
    induce_fn, judge_fn, respond_fn,
    run::{Journal, Runner},
};
use tokio::time::MissedTickBehavior;

fn main() {
    let options: HashMap<String, u64> = env::args()
        .filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect();
    let number = |name: &str, default| options.get(name).copied().unwrap_or(default);
    let folder = tempfile::tempdir().unwrap();
    steady(
        folder.path(),
        number("per_second", 20_000),
        number("seconds", 10),
    );
    resumed(folder.path(), number("texts", 1_000_000));
}

/// The same texts come at a steady rate, without the journal and with it.
fn steady(folder: &Path, per_second: u64, seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let all = per_second * seconds;
    for round in 0..3 {
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let done = runtime.block_on(async {
            let pipeline = pipeline();
            let done = pipeline.run(steadily(per_second, all)).count();
            done.await
        });
        assert_eq!(done as u64, all);
        let without = begun.elapsed().as_secs_f64();
        let cpu_without = cpu_seconds() - cpu;

        let path = folder.join(format!("steady-{round}.sqlite"));
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        runtime.block_on(async {
            let mut journal = Journal::create(path, serde_json::Value::Null).unwrap();
            let pipeline = pipeline();
            let runner = Runner::new(&mut journal, &pipeline, || begun.elapsed(), never);
            let report = runner.run(steadily(per_second, all).map(Ok)).await.unwrap();
            assert_eq!(report.progress.done, all);
        });
        let with = begun.elapsed().as_secs_f64();
        println!(
            "{all} outcomes at {per_second}/s: {without:.2} s without the journal, {with:.2} s with it, {:+.1} %; {:.1} and {:.1} us of CPU an outcome",
            100.0 * (with / without - 1.0),
            1e6 * cpu_without / all as f64,
            1e6 * (cpu_seconds() - cpu) / all as f64,
        );
    }
}

/// A run of many outcomes, and the time until it starts work after it is opened again.
fn resumed(folder: &Path, texts: u64) {
    let (input, path) = (folder.join("texts.jsonl"), folder.join("run.sqlite"));
    let mut file = BufWriter::new(fs::File::create(&input).unwrap());
    for n in 0..texts + 1 {
        writeln!(file, r#"{{"id":"text-{n}","text":"{}"}}"#, said(n)).unwrap();
    }
    file.into_inner().unwrap();
    let read = |limit| {
        let reader = Reader::builder()
            .with_columns(Columns::default().with_id("id"))
            .with_limit(limit)
            .open(&input)
            .unwrap();
        into_stream(reader).unwrap()
    };

    let begun = Instant::now();
    let early = texts / 10;
    let mut journal = Journal::create(&path, serde_json::Value::Null).unwrap();
    for limit in [early, texts] {
        let pipeline = pipeline();
        let runner = Runner::new(&mut journal, &pipeline, || begun.elapsed(), never);
        let report = block_on(runner.run(read(limit))).unwrap();
        println!(
            "{} outcomes after {:.1} s: {} MiB at most",
            report.progress.done,
            begun.elapsed().as_secs_f64(),
            peak_mib()
        );
    }
    drop(journal);

    for round in 0..3 {
        // A copy, so that each round finds the same.
        let copy = folder.join(format!("copy-{round}.sqlite"));
        fs::copy(&path, &copy).unwrap();
        let begun = Instant::now();
        let first = AtomicU64::new(0);
        let mut journal = Journal::open(&copy, serde_json::Value::Null).unwrap();
        let opened = begun.elapsed().as_secs_f64();
        let pipeline = Pipeline::new(
            induce_fn(|_| {
                first.store(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
                async { Ok(Instruction::new("What do you say to a beginner?")) }
            }),
            respond_fn(|_| async { Ok(Response::new("Keep at it.")) }),
            judge_fn(|_, _, _| async { Ok(Judgement::first()) }),
        );
        let runner = Runner::new(&mut journal, &pipeline, || begun.elapsed(), never);
        let report = block_on(runner.run(read(texts + 1))).unwrap();
        assert_eq!(report.progress.done, texts + 1);
        println!(
            "a run of {texts} outcomes: opened after {opened:.2} s, at work after {:.2} s, {} MiB at most",
            first.load(Ordering::Relaxed) as f64 / 1e6,
            peak_mib()
        );
    }
}

fn pipeline() -> Pipeline<impl InstructionGenerator, impl ResponseGenerator, impl PreferenceJudge> {
    Pipeline::new(
        induce_fn(|_| async { Ok(Instruction::new("What do you say to a beginner?")) }),
        respond_fn(|_| async { Ok(Response::new("Keep at it.")) }),
        judge_fn(|_, first: Response, _| async move {
            Ok(if first.text().starts_with("Keep") {
                Judgement::first()
            } else {
                Judgement::second()
            })
        }),
    )
}

fn said(n: u64) -> String {
    format!("You will never learn it, said number {n}, and all who stood around nodded.")
}

/// Gives the texts at their times, checked every millisecond.
fn steadily(per_second: u64, all: u64) -> impl Stream<Item = SourceText> {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let per_tick = per_second / 1_000;
    let due = (0..all / per_tick).map(move |tick| tick * per_tick..(tick + 1) * per_tick);
    stream::unfold((ticks, due), |(mut ticks, mut due)| async move {
        ticks.tick().await;
        Some((stream::iter(due.next()?), (ticks, due)))
    })
    .flatten()
    .map(|n| SourceText::new(n.to_string(), said(n)))
}

fn never(_: Duration) -> std::future::Pending<()> {
    std::future::pending()
}

/// Of the process, in all its threads.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold spaces; in hundredths of a second on Linux.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok());
    (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / 100.0
}

fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
