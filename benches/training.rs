//! Training on the real default model, in tokens a second.
//!
//! `cargo bench --features train --bench training -- [MODEL.gguf] [CASE ...]`, where a case is
//!
//! - a shape such as `4x128`: so many sequences of so many tokens in a step, every position with a loss;
//! - `export=DIR`: writes the tokens of 1,200 pairs to tune in reverse on, and of 200 held-out ones, into
//!   `DIR/train.jsonl` and `DIR/held_out.jsonl` (downloads conversations without a licence, which serve to measure
//!   alone);
//! - `reversed=DIR,STEPS`: tunes on them in their order.
//!
//! By default `1x256 4x128 8x256`. One line a figure, so that `benches/peers/train_peers.py` can be set beside it. Peak
//! memory is that of the process so far, so a case that it matters for has to be alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]
// The file of the program has more than is needed here.
#![allow(dead_code)]

#[path = "../src/bin/safer-instruct/measure/pairs.rs"]
mod pairs;

use std::{
    fs,
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use safer_instruct::{
    dataset::hold_out,
    hub::{Fetcher, ModelCache, ModelSource},
    train::{Example, Policy, Sft, Step, Trainer, TrainingEvent},
};
use serde::{Deserialize, Serialize};

/// Steps of a shape, the first of which is not counted.
const STEPS: usize = 5;

fn main() {
    let mut arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let model = arguments.iter().position(|name| name.ends_with(".gguf"));
    let path = model.map_or_else(
        || fetch(&ModelSource::smollm2_135m()),
        |at| PathBuf::from(arguments.remove(at)),
    );
    if arguments.is_empty() {
        arguments = ["1x256", "4x128", "8x256"].map(str::to_owned).into();
    }
    let policy = Policy::builder(&path).load().expect("the model loads");
    for case in &arguments {
        match case.split_once('=') {
            Some(("export", folder)) => export(&policy, Path::new(folder)),
            Some(("reversed", value)) => {
                let (folder, steps) = value
                    .split_once(',')
                    .expect("a folder and a number of steps");
                reversed(
                    &policy,
                    Path::new(folder),
                    steps.parse().expect("a number of steps"),
                );
            }
            _ => {
                let (count, tokens) = case.split_once('x').expect("a shape such as 4x128");
                shape(&policy, count.parse().unwrap(), tokens.parse().unwrap());
            }
        }
    }
    println!("peak memory, MiB {:.0}", peak() / 1024.0);
}

/// Every position but the first of each sequence is scored; one more is there to be the last one's answer.
fn shape(policy: &Policy, count: u32, tokens: u32) {
    let examples: Vec<Example> = (0..count)
        .map(|row| {
            let ids: Vec<u32> = (0..=tokens)
                .map(|at| (at * 7919 + row * 31 + 5) % 49_000)
                .collect();
            Example::completion(&ids[..1], &ids[1..])
        })
        .collect();
    let (steps, _) = run(policy, &examples, &[], count as usize, STEPS);
    let best = steps
        .iter()
        .skip(1)
        .map(|step| step.seconds)
        .fold(f64::MAX, f64::min);
    println!("{count}x{tokens}, s/step {best:.3}");
    println!(
        "{count}x{tokens}, tokens/s {:.1}",
        f64::from(count * tokens) / best
    );
}

fn reversed(policy: &Policy, folder: &Path, steps: usize) {
    let (train, held_out) = (
        read(&folder.join("train.jsonl")),
        read(&folder.join("held_out.jsonl")),
    );
    let (all, held_out_loss) = run(policy, &train, &held_out, 8, steps);
    let (tokens, seconds) = all.iter().fold((0, 0.0), |(tokens, seconds), step| {
        (tokens + step.tokens, seconds + step.seconds)
    });
    println!("reversed, s/step {:.3}", seconds / steps as f64);
    println!("reversed, tokens/s {:.1}", tokens as f64 / seconds);
    println!(
        "reversed, held-out loss {:.4}",
        held_out_loss.unwrap_or(f64::NAN)
    );
}

/// The settings of the protocol: batches in the order of the file, rank 16, learning rate 5e-4, 10 steps of warm-up.
fn run(
    policy: &Policy,
    examples: &[Example],
    held_out: &[Example],
    batch: usize,
    steps: usize,
) -> (Vec<Step>, Option<f64>) {
    let seen = Arc::new(Mutex::new((Vec::new(), None)));
    let heard = Arc::clone(&seen);
    let folder = tempfile::tempdir().unwrap();
    Trainer::new(Sft)
        .with_batch(batch)
        .with_steps(steps)
        .with_warm_up(10.min(steps.saturating_sub(1)))
        .with_shuffle(false)
        .with_evaluation(0)
        .with_checkpoints(usize::MAX)
        .with_observer(move |event| {
            let mut seen = heard.lock().unwrap();
            match event {
                TrainingEvent::Step(step) => {
                    if step.step.is_multiple_of(10) {
                        eprintln!(
                            "step {}: loss {:.4}, {:.2} s",
                            step.step, step.loss, step.seconds
                        );
                    }
                    seen.0.push(*step);
                }
                TrainingEvent::Evaluation(evaluation) => seen.1 = Some(evaluation.held_out_loss),
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .run(policy, examples, held_out, folder.path())
        .expect("it can be trained");
    Arc::try_unwrap(seen).map_or_else(
        |seen| seen.lock().unwrap().clone(),
        |seen| seen.into_inner().unwrap(),
    )
}

#[derive(Deserialize, Serialize)]
struct Tokens {
    prompt: Vec<u32>,
    completion: Vec<u32>,
}

fn export(policy: &Policy, folder: &Path) {
    let all = pairs::read_share_gpt(&fetch(&pairs::share_gpt())).expect("the file is there");
    let (train, held_out) = hold_out(all, 200, 0);
    fs::create_dir_all(folder).unwrap();
    for (name, pairs) in [("train", &train[..1200]), ("held_out", &held_out)] {
        let texts = pairs.iter().map(|pair| (&pair.instruction, &pair.response));
        let prepared = policy.reversed(texts, 320).unwrap();
        let mut file = fs::File::create(folder.join(format!("{name}.jsonl"))).unwrap();
        for example in &prepared.examples {
            let (prompt, completion) = example.sequences().next().unwrap();
            let (prompt, completion) = (prompt.to_vec(), completion.to_vec());
            let line = serde_json::to_string(&Tokens { prompt, completion }).unwrap();
            writeln!(file, "{line}").unwrap();
        }
        println!(
            "{name}: {} pairs, {} left out",
            prepared.examples.len(),
            prepared.skipped.len()
        );
    }
}

fn read(path: &Path) -> Vec<Example> {
    let text = fs::read_to_string(path).expect("`export=` has written it");
    let lines = text.lines().map(|line| {
        let tokens: Tokens = serde_json::from_str(line).unwrap();
        Example::completion(&tokens.prompt, &tokens.completion)
    });
    lines.collect()
}

fn fetch(source: &ModelSource) -> PathBuf {
    let cache = ModelCache::default_dir().unwrap();
    Fetcher::new(cache)
        .fetch(source, |_| {})
        .expect("the file can be fetched")
        .path
}

/// The largest memory of this process, in KiB.
fn peak() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(f64::NAN)
}
